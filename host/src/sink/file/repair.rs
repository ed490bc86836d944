//! Where the last whole document of a file ends.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use crate::sink::Encoding;

/// How much is read at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// The length of the smallest BSON document.
const BSON_LENGTH_MIN: u64 = 5;

/// More than any document of MongoDB has.
const BSON_LENGTH_MAX: u64 = 64 << 20;

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// Whole documents up to there; what follows is torn.
    Documents(u64),
    /// Something that we did not write begins there.
    Foreign(u64),
}

/// Finds where the whole documents of a file end.
pub(super) fn contents(
    file: &mut (impl Read + Seek),
    format: Encoding,
    len: u64,
) -> io::Result<Contents> {
    match format {
        Encoding::JsonLines(_) => json_lines(file, len),
        Encoding::Bson => bson(file, len),
    }
}

/// Reads backwards, to the last line feed: no line holds another.
fn json_lines(file: &mut (impl Read + Seek), len: u64) -> io::Result<Contents> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut start = len;
    let mut whole = 0;
    while start > 0 {
        let from = start.saturating_sub(BLOCK_BYTES as u64);
        let block = &mut block[..(start - from) as usize];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(block)?;
        if let Some(place) = block.iter().rposition(|byte| *byte == b'\n') {
            whole = from + place as u64 + 1;
            break;
        }
        start = from;
    }
    // A torn line is ours to cut off; anything else is somebody's, such as a picture.
    let mut first = [0];
    file.seek(SeekFrom::Start(whole))?;
    Ok(match file.read(&mut first)? {
        0 => Contents::Documents(whole),
        _ if first[0] == b'{' || are_zeros(file, whole)? => Contents::Documents(whole),
        _ => Contents::Foreign(whole),
    })
}

/// Goes from document to document, as their lengths say.
fn bson(file: &mut (impl Read + Seek), len: u64) -> io::Result<Contents> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(BLOCK_BYTES, &mut *file);
    let mut whole = 0;
    while len - whole >= BSON_LENGTH_MIN {
        let mut prefix = [0; 4];
        reader.read_exact(&mut prefix)?;
        let length = u64::from(u32::from_le_bytes(prefix));
        if !(BSON_LENGTH_MIN..=BSON_LENGTH_MAX).contains(&length) {
            drop(reader);
            return Ok(match are_zeros(file, whole)? {
                true => Contents::Documents(whole),
                false => Contents::Foreign(whole),
            });
        }
        if length > len - whole {
            return Ok(Contents::Documents(whole));
        }
        reader.seek_relative(length as i64 - 5)?;
        let mut end = [0];
        reader.read_exact(&mut end)?;
        if end[0] != 0 {
            return Ok(Contents::Foreign(whole));
        }
        whole += length;
    }
    Ok(Contents::Documents(whole))
}

/// Whether nothing but zeros follows: the system had made room, and lost its power before it wrote.
fn are_zeros(file: &mut (impl Read + Seek), from: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(from))?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(true),
            read if block[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use bson::{doc, serialize_to_vec};
    use proptest::prelude::*;

    use super::*;
    use crate::op::Format;

    const LINES: Encoding = Encoding::JsonLines(Format::Relaxed);

    fn found(bytes: &[u8], format: Encoding) -> Contents {
        contents(&mut Cursor::new(bytes), format, bytes.len() as u64).unwrap()
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        assert_eq!(found(b"", LINES), Contents::Documents(0));
        assert_eq!(found(b"\x89PNG", LINES), Contents::Foreign(0));
        assert_eq!(found(b"{}\nhello", LINES), Contents::Foreign(3));
        assert_eq!(found(b"{}\n\0\0\0", LINES), Contents::Documents(3));
        assert_eq!(found(b"{\"a\":1}\n", Encoding::Bson), Contents::Foreign(0));
        assert_eq!(
            found(&[5, 0, 0, 0, 0, 0, 0, 0, 0, 0], Encoding::Bson),
            Contents::Documents(5)
        );
        assert_eq!(
            found(&[5, 0, 0, 0, 1], Encoding::Bson),
            Contents::Foreign(0)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Wherever a crash cuts a file, what is left is the whole documents before.
        #[test]
        fn a_torn_tail_is_found(
            lengths in prop::collection::vec(0..40_000_usize, 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            for format in [LINES, Encoding::Bson] {
                let mut bytes = Vec::new();
                let mut ends = vec![0];
                for length in &lengths {
                    let text = "x".repeat(*length);
                    match format {
                        Encoding::Bson => bytes.extend(serialize_to_vec(&doc! {"a": text}).unwrap()),
                        Encoding::JsonLines(_) => bytes.extend(format!("{{\"a\":\"{text}\"}}\n").bytes()),
                    }
                    ends.push(bytes.len());
                }
                let cut = cut.index(bytes.len() + 1);
                let whole = ends.iter().rev().find(|end| **end <= cut).unwrap();
                prop_assert_eq!(found(&bytes[..cut], format), Contents::Documents(*whole as u64));
            }
        }
    }
}
