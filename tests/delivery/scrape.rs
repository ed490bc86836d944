//! The admin API of a run, as Prometheus and operators ask it.

use std::{collections::BTreeMap, net::SocketAddr};

use oplet_testkit::RunningOplet;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::DEADLINE;

/// What one request was answered: a value for each series.
#[derive(Debug)]
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Of a run that was started with `--admin 127.0.0.1:0`.
    pub(crate) async fn of(running: &RunningOplet) -> Self {
        let answer = ask(running, "GET /metrics").await;
        let (_, text) = answer.split_once("\r\n\r\n").unwrap();
        let series = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.map(series).collect())
    }

    /// The value of one series, such as `oplet_control_state{state="paused"}`.
    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        let value = self.0.get(series);
        *value.unwrap_or_else(|| panic!("no {series} in {:#?}", self.0))
    }

    /// All series of a metric, without its name.
    pub(crate) fn all<'a>(&'a self, name: &str) -> BTreeMap<&'a str, f64> {
        let of_it = |(series, value): (&'a String, &f64)| {
            let labels = series.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        };
        self.0.iter().filter_map(of_it).collect()
    }

    /// That these series have these values.
    #[track_caller]
    pub(super) fn has(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            assert_eq!(self.value(series), *value, "{series} in {:#?}", self.0);
        }
    }
}

/// A request to a run's admin API: the whole answer.
pub(crate) async fn ask(running: &RunningOplet, request: &str) -> String {
    let is_served = |line: &str| line.contains("the admin API is served");
    let line = running.wait_for_stderr(is_served, DEADLINE).await.unwrap();
    let (_, address) = line.split_once("address=").unwrap();
    let address = address.split_whitespace().next().unwrap();
    let address: SocketAddr = address.trim_matches('"').parse().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let request = format!("{request} {head}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer
}
