//! What can be told from a resume token.
//!
//! `{_data: "82..."}` is the hex text of a KeyString. It begins with the cluster time (type byte
//! 0x82, then 8 bytes, big-endian); in the formats 1 and 2 (MongoDB 4.2 and later) there follow as
//! numbers the format, the kind of token (0 for a point between events, 128 for an event) and the
//! event's index in its transaction. The rest is the server's own business. Source: the server's
//! `src/mongo/db/pipeline/resume_token.cpp` and `src/mongo/db/storage/key_string.cpp`; the index
//! was seen on 6.0.5 to count over the whole transaction, whatever of it is watched.

use oplet_sdk::raw::Walk;

use crate::op::{OpPoint, Timestamp};

/// KeyString type byte of a timestamp.
const TIMESTAMP: u8 = 0x82;
/// The kind of token that an event has.
const EVENT: u64 = 128;
/// KeyString type byte of the number zero.
const ZERO: u8 = 0x29;
/// KeyString type bytes of positive whole numbers of 1 to 8 bytes.
const POSITIVE: std::ops::RangeInclusive<u8> = 0x2B..=0x32;

/// The cluster time of a resume token document, or `None` when the token is not of MongoDB's form.
#[must_use]
pub fn token_time(token: &[u8]) -> Option<Timestamp> {
    decode_time(&token_head(token)?).map(|(timestamp, _)| timestamp)
}

/// The index of a token's event in its transaction; `None` when the token's format is not known.
pub(super) fn token_index(token: &[u8]) -> Option<u32> {
    decode_event(&token_head(token)?).map(|(_, _, index)| index)
}

/// Where the event of a token stands in the stream's order; `None` for a point between events, and
/// when the token's format is not known.
pub(super) fn token_point(token: &[u8]) -> Option<OpPoint> {
    let (timestamp, kind, index) = decode_event(&token_head(token)?)?;
    (kind == EVENT).then_some(OpPoint { timestamp, index })
}

/// Type byte and value of a timestamp.
const TIME_BYTES: usize = 9;

/// How much of a token is read, in bytes: timestamp, and three numbers of at most 9 bytes.
const HEAD_BYTES: usize = 36;

/// The beginning of a token's `_data`, from hex text; what is missing is zero, which no KeyString
/// type is.
fn token_head(token: &[u8]) -> Option<[u8; HEAD_BYTES]> {
    let text = Walk::find(token, "_data").ok()??.text()?;
    if text.len() < 2 * TIME_BYTES {
        return None;
    }
    let mut head = [0; HEAD_BYTES];
    for (byte, pair) in head.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(head)
}

/// Cluster time, kind of the token, and index.
fn decode_event(head: &[u8]) -> Option<(Timestamp, u64, u32)> {
    let (timestamp, rest) = decode_time(head)?;
    let (format, rest) = decode_number(rest)?;
    if !matches!(format, 1 | 2) {
        return None;
    }
    let (kind, rest) = decode_number(rest)?;
    let (index, _) = decode_number(rest)?;
    Some((timestamp, kind, u32::try_from(index).ok()?))
}

fn decode_time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let packed = u64::from_be_bytes(*time);
    (kind == TIMESTAMP).then(|| (Timestamp::new((packed >> 32) as u32, packed as u32), rest))
}

/// A whole number that is not negative: its bytes are shifted left by one, the lowest bit telling
/// whether a fraction follows.
fn decode_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    if kind == ZERO {
        return Some((0, rest));
    }
    let len = usize::from(
        POSITIVE
            .contains(&kind)
            .then(|| kind - POSITIVE.start() + 1)?,
    );
    let (digits, rest) = rest.split_at_checked(len)?;
    let value = digits
        .iter()
        .fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
    (value & 1 == 0).then_some((value >> 1, rest))
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn reads_what_servers_send() {
        for (data, time, index) in [
            // An event of a 6.0.5 server, and a point between events.
            (
                "8263F5C5AB000000012B022C0100296E5A1004",
                Some(Timestamp::new(0x63F5_C5AB, 1)),
                Some(0),
            ),
            (
                "8263F5C5AB000000022B0229296E04",
                Some(Timestamp::new(0x63F5_C5AB, 2)),
                Some(0),
            ),
            // The 4th and the 200th op of a transaction.
            (
                "8263F5C5AB000000012B022C01002B066E5A1004",
                Some(Timestamp::new(0x63F5_C5AB, 1)),
                Some(3),
            ),
            (
                "8263F5C5AB000000012B022C01002C018E6E5A1004",
                Some(Timestamp::new(0x63F5_C5AB, 1)),
                Some(199),
            ),
            // Format 0, and a format yet to come.
            (
                "8263F5C5AB0000000129295A1004",
                Some(Timestamp::new(0x63F5_C5AB, 1)),
                None,
            ),
            (
                "8263F5C5AB000000012B122C0100296E5A1004",
                Some(Timestamp::new(0x63F5_C5AB, 1)),
                None,
            ),
            ("0163F5C5AB00000001", None, None),
            ("82", None, None),
            ("zz", None, None),
        ] {
            let token = rawdoc! { "_data": data };
            assert_eq!(token_time(token.as_bytes()), time, "{data}");
            assert_eq!(token_index(token.as_bytes()), index, "{data}");
            let is_event = data.contains("2C0100");
            let point = time
                .zip(index)
                .map(|(timestamp, index)| OpPoint { timestamp, index });
            let point = point.filter(|_| is_event);
            assert_eq!(token_point(token.as_bytes()), point, "{data}");
        }
        assert_eq!(token_time(rawdoc! {}.as_bytes()), None);
    }
}
