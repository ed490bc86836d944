//! Who works under a name.

use std::{fmt, fs, time::Duration, time::SystemTime};

use bson::{Document, doc};

use crate::mongo::Remains;

/// A process that may hold a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Random, so that two runs are never taken for one.
    pub id: String,
    /// Name of the host.
    pub host: String,
    /// Process id on that host.
    pub pid: u32,
    /// When this holder was made, in milliseconds since 1970, by the host's clock.
    pub started_ms: i64,
    /// Where the process id means something; empty where that cannot be told.
    pub place: String,
    /// When the process itself began, in the kernel's own count; tells a process id that was given
    /// out again.
    pub process_start: Option<u64>,
    /// The server sessions that it writes by. Whoever takes over ends them: the server would keep a
    /// transaction that was left open, and its locks, for a minute; and a write that it still works on
    /// would come after what the successor has written.
    pub sessions: Vec<bson::Uuid>,
    /// What holders before have left behind, as long as it is not known to be ended.
    pub inherited: Remains,
}

/// A lease as it stands in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Holding {
    /// Who holds it.
    pub holder: Holder,
    /// Counts the holders of the name.
    pub epoch: u64,
    /// Since when, in milliseconds since 1970, by the store's clock.
    pub since_ms: i64,
    /// When it was renewed last, by the store's clock.
    pub renewed_at_ms: i64,
    /// How long ago that is, by the store's clock.
    pub renewed_ago: Duration,
    /// For how long it holds without being renewed.
    pub ttl: Duration,
}

// === impl Holder ===

impl Holder {
    /// A new holder: this process.
    #[must_use]
    pub fn this_process() -> Self {
        let mut id = [0; 16];
        if getrandom::fill(&mut id).is_err() {
            // No source of randomness: the time in nanoseconds and the process id still tell runs apart.
            let nanoseconds = since_1970().as_nanos() ^ (u128::from(std::process::id()) << 96);
            id = nanoseconds.to_le_bytes();
        }
        let pid = std::process::id();
        Self {
            id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            pid,
            started_ms: now_ms(),
            place: place().unwrap_or_default(),
            process_start: process_state(pid).map(|(_, start)| start),
            sessions: Vec::new(),
            inherited: Remains::default(),
        }
    }

    /// What is left of this one when it is gone.
    #[must_use]
    pub fn remains(&self) -> Remains {
        let mut remains = self.inherited.clone();
        remains.writers.push(self.id.clone());
        remains.sessions.extend(&self.sessions);
        remains
    }

    /// Whether the process is known to be gone, or its id to be another's by now. Only ever true
    /// where the id means the same as here: on this host since it was booted, in this namespace.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let is_here = place().is_some_and(|place| place == self.place);
        if !is_here {
            return false;
        }
        match process_state(self.pid) {
            // A zombie does nothing any more; its parent has not noticed yet.
            Some((state, start)) => {
                matches!(state, b'Z' | b'X')
                    || self.process_start.is_some_and(|known| known != start)
            }
            None => true,
        }
    }

    pub(super) fn to_document(&self) -> Document {
        let mut document = doc! {
            "id": &self.id,
            "host": &self.host,
            "pid": i64::from(self.pid),
            "startedAt": bson::DateTime::from_millis(self.started_ms),
            "place": &self.place,
        };
        if let Some(start) = self.process_start {
            document.insert("processStart", start as i64);
        }
        if !self.sessions.is_empty() {
            document.insert("sessions", self.sessions.clone());
        }
        if !self.inherited.is_empty() {
            let Remains { writers, sessions } = self.inherited.clone();
            document.insert("inherited", doc! {"writers": writers, "sessions": sessions});
        }
        document
    }

    pub(super) fn from_document(document: &Document) -> Result<Self, String> {
        let wrong = |field: &str| format!("`holder.{field}` is missing or of the wrong type");
        let text = |field| {
            let text = document.get_str(field);
            text.map(str::to_owned).map_err(|_| wrong(field))
        };
        Ok(Self {
            id: text("id")?,
            host: text("host")?,
            pid: whole(document, "pid")
                .and_then(|pid| pid.try_into().ok())
                .ok_or_else(|| wrong("pid"))?,
            started_ms: document
                .get_datetime("startedAt")
                .map_err(|_| wrong("startedAt"))?
                .timestamp_millis(),
            place: text("place").unwrap_or_default(),
            process_start: whole(document, "processStart").map(|start| start as u64),
            sessions: all(document, "sessions", uuid),
            inherited: match document.get_document("inherited") {
                Ok(inherited) => Remains {
                    writers: all(inherited, "writers", |id| id.as_str().map(str::to_owned)),
                    sessions: all(inherited, "sessions", uuid),
                },
                Err(_) => Remains::default(),
            },
        })
    }
}

fn all<T>(document: &Document, field: &str, read: impl Fn(&bson::Bson) -> Option<T>) -> Vec<T> {
    let array = document.get_array(field).ok();
    array.into_iter().flatten().filter_map(read).collect()
}

fn uuid(value: &bson::Bson) -> Option<bson::Uuid> {
    match value {
        bson::Bson::Binary(binary) => binary.to_uuid().ok(),
        _ => None,
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

// === impl Holding ===

impl Holding {
    /// Whether nobody else may take over: it was renewed in time, and the process is not known to be
    /// gone.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.renewed_ago < self.ttl && !self.holder.is_dead()
    }

    pub(super) fn times(&self) -> String {
        format!(
            "since {}, last heard of {} ago",
            rfc3339(self.since_ms),
            humantime::format_duration(whole_milliseconds(self.renewed_ago))
        )
    }
}

fn whole_milliseconds(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn rfc3339(ms: i64) -> String {
    let time = u64::try_from(ms)
        .ok()
        .and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    time.map_or_else(
        || "an unknown time".to_owned(),
        |time| humantime::format_rfc3339_seconds(time).to_string(),
    )
}

/// A whole number of either type.
pub(super) fn whole(document: &Document, field: &str) -> Option<i64> {
    match document.get(field)? {
        bson::Bson::Int32(number) => Some(i64::from(*number)),
        bson::Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// The host's clock.
pub(super) fn now_ms() -> i64 {
    i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX)
}

/// The running of a kernel, and the namespace of process ids in it. Names of hosts are not unique;
/// two containers on one host count their processes apart.
fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// State and start of a process, from the 3rd and the 22nd field of its `stat` (man 5 proc); its
/// second is a name in brackets, which may hold anything.
fn process_state(pid: u32) -> Option<(u8, u64)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn holders_survive_being_stored() {
        let before = Holder {
            sessions: vec![bson::Uuid::new()],
            ..Holder::this_process()
        };
        let holder = Holder {
            sessions: vec![bson::Uuid::new(), bson::Uuid::new()],
            inherited: before.remains(),
            ..Holder::this_process()
        };
        let remains = holder.remains();
        assert_eq!(remains.writers, [before.id, holder.id.clone()]);
        assert_eq!(remains.sessions.len(), 3);
        assert_eq!(Holder::from_document(&holder.to_document()), Ok(holder));
        let error = Holder::from_document(&doc! {"id": 1}).unwrap_err();
        assert!(error.contains("`holder.id`"), "{error}");
    }

    #[test]
    fn a_process_is_dead_when_it_is_gone_or_its_id_is_anothers() {
        let here = Holder::this_process();
        assert!(!here.is_dead());
        let other_run = Holder {
            process_start: here.process_start.map(|start| start + 1),
            ..here.clone()
        };
        assert!(other_run.is_dead());
        let elsewhere = Holder {
            place: "another host".into(),
            ..other_run
        };
        assert!(!elsewhere.is_dead());

        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let holder = Holder {
            pid: child.id(),
            process_start: process_state(child.id()).map(|(_, start)| start),
            ..here
        };
        assert!(!holder.is_dead());
        child.kill().unwrap();
        // Not reaped yet: a zombie.
        while !holder.is_dead() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(holder.is_dead());
    }
}
