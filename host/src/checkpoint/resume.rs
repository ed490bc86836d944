//! Where streams go on, also when they are not the ones that were saved.

use super::{Checkpoint, DirectRead, Error, StreamCheckpoint, StreamIdentity};
use crate::op::{Cluster, Frontier, Position, Timestamp};

impl Checkpoint {
    /// Where each of the wanted streams goes on. None of them loses an op; where a stream is not the
    /// one that was saved, ops can come again.
    ///
    /// A stream of the same digest goes on at its frontier. Another goes on by time: at the smallest
    /// frontier of those saved streams that its modules saw, or of all, where none of them saw any.
    /// One that is the same, but now also serves a module that another saved stream served, goes on by
    /// time, too: that other stream may be behind.
    ///
    /// All that is about the streams of one deployment, in whichever order these are wanted. Where none
    /// was saved of a deployment the answer is none. But one deployment in the place of one other goes
    /// on where that was: it may have been restored from a copy. What was saved without saying of which
    /// deployment holds for each; where several are wanted, by its time alone.
    ///
    /// # Errors
    /// [`Error::NoClusterTime`] where a frontier is needed as a time and cannot be told as one.
    pub fn resume(&self, wanted: &[StreamIdentity]) -> Result<Vec<Option<Frontier>>, Error> {
        let of_one = is_one(self.streams.iter().map(|stream| stream.cluster.as_ref()));
        let is_one = is_one(wanted.iter().map(|wanted| wanted.cluster.as_ref()));
        let resume = |wanted: &StreamIdentity| {
            let of_deployment =
                |stream: &&StreamCheckpoint| match (&stream.cluster, &wanted.cluster) {
                    (Some(saved), Some(wanted)) => saved.is_same(wanted),
                    _ => true,
                };
            let mut saved: Vec<_> = self.streams.iter().filter(of_deployment).collect();
            if saved.is_empty() && of_one && is_one {
                saved.extend(&self.streams);
            }
            if saved.is_empty() {
                return Ok(None);
            }
            let frontier = self.resume_one(wanted, &saved)?;
            let is_anyones =
                |stream: &&StreamCheckpoint| stream.cluster.is_none() && !stream.digest.is_empty();
            if !is_one && saved.iter().any(is_anyones) {
                // Tokens, and the last op that is done, are another's for all but one.
                let by_time = self.by_time(&saved)?;
                return Ok(Some(Frontier::at(by_time.position)));
            }
            Ok(Some(frontier))
        };
        wanted.iter().map(resume).collect()
    }

    /// What was read directly of each of these deployments. One deployment in the place of one other
    /// has what that had: it may have been restored from a copy.
    #[must_use]
    pub fn direct_reads_of(&self, wanted: &[Cluster]) -> Vec<Vec<DirectRead>> {
        let streams = || self.streams.iter().map(|stream| stream.cluster.as_ref());
        let of_one = is_one(streams());
        let is_one = is_one(wanted.iter().map(Some));
        // Where it was not noted, one was read.
        let only = streams().flatten().next();
        let is_of = |read: &DirectRead, wanted: &Cluster| match read.cluster.as_ref().or(only) {
            Some(cluster) => cluster.is_same(wanted) || (of_one && is_one),
            None => is_one,
        };
        let of_each = wanted.iter().map(|wanted| {
            let reads = self.direct_reads.iter();
            reads.filter(|read| is_of(read, wanted)).cloned().collect()
        });
        of_each.collect()
    }

    fn resume_one(
        &self,
        wanted: &StreamIdentity,
        saved: &[&StreamCheckpoint],
    ) -> Result<Frontier, Error> {
        let same = saved
            .iter()
            .copied()
            .find(|stream| stream.digest == wanted.digest && !stream.digest.is_empty());
        let mut sources: Vec<&StreamCheckpoint> = same.into_iter().collect();
        for module in &wanted.modules {
            let serves = |stream: &&StreamCheckpoint| stream.modules.contains(module);
            if same.as_ref().is_some_and(serves) {
                continue;
            }
            sources.extend(saved.iter().copied().filter(serves));
        }
        if let Some(same) = same
            && sources.len() == 1
        {
            return Ok(same.frontier.clone());
        }
        if sources.is_empty() {
            sources.extend(saved);
        }
        match sources.as_slice() {
            // What a user has set is meant to the op.
            [by_hand]
                if by_hand.digest.is_empty()
                    && matches!(by_hand.frontier.position, Position::Time(_)) =>
            {
                Ok(by_hand.frontier.clone())
            }
            _ => self.by_time(&sources),
        }
    }

    fn by_time(&self, sources: &[&StreamCheckpoint]) -> Result<Frontier, Error> {
        let times: Result<Vec<_>, _> = sources
            .iter()
            .map(|stream| {
                let time = stream.frontier.position.timestamp();
                time.ok_or_else(|| Error::NoClusterTime {
                    name: self.name.clone(),
                    scope: stream.scope.clone(),
                })
            })
            .collect();
        let smallest = times?.into_iter().min().unwrap_or_default();
        // No point is smaller than any point: then nothing is passed over.
        let done = sources.iter().map(|stream| stream.frontier.done).min();
        Ok(Frontier {
            // A token or an entry can lie in the midst of the ops of its cluster time, so these come
            // again; those that are done are told by their points.
            position: Position::Time(before(smallest)),
            done: done.flatten(),
        })
    }
}

/// Whether these are of one deployment.
fn is_one<'a>(clusters: impl Iterator<Item = Option<&'a Cluster>>) -> bool {
    let mut clusters = clusters.flatten();
    clusters
        .next()
        .is_none_or(|first| clusters.all(|cluster| cluster.is_same(first)))
}

/// The largest point in cluster time before that one.
fn before(timestamp: Timestamp) -> Timestamp {
    match (timestamp.seconds, timestamp.increment.checked_sub(1)) {
        (seconds, Some(increment)) => Timestamp::new(seconds, increment),
        (0, None) => timestamp,
        (seconds, None) => Timestamp::new(seconds - 1, u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;
    use crate::op::{OpPoint, OpTime, SourceKind};

    fn done(seconds: u32) -> OpPoint {
        OpPoint {
            timestamp: Timestamp::new(seconds, 5),
            index: 2,
        }
    }

    fn token(seconds: Option<u32>) -> Position {
        Position::ChangeStream {
            token: rawdoc! {"_data": "82"},
            cluster_time: seconds.map(|seconds| Timestamp::new(seconds, 5)),
        }
    }

    /// Streams by digest, modules, position and the second of the last op.
    fn checkpoint(streams: &[(&str, &[&str], Position, Option<u32>)]) -> Checkpoint {
        let mut checkpoint = Checkpoint::by_hand(
            "n",
            SourceKind::ChangeStream,
            Position::Time(Timestamp::default()),
        );
        checkpoint.streams = streams
            .iter()
            .map(|(digest, modules, position, seconds)| StreamCheckpoint {
                digest: (*digest).to_owned(),
                scope: "shop".into(),
                modules: modules.iter().map(|&name| name.to_owned()).collect(),
                frontier: Frontier {
                    position: position.clone(),
                    done: seconds.map(done),
                },
                cluster: None,
            })
            .collect();
        checkpoint
    }

    fn resume(checkpoint: &Checkpoint, digest: &str, modules: &[&str]) -> Result<Frontier, Error> {
        let wanted = StreamIdentity {
            digest: digest.into(),
            modules: modules.iter().map(|&name| name.to_owned()).collect(),
            cluster: None,
        };
        let frontiers = checkpoint.resume(&[wanted])?;
        Ok(frontiers[0].clone().expect("it is of no deployment"))
    }

    fn by_time(seconds: u32, increment: u32, done_seconds: Option<u32>) -> Frontier {
        Frontier {
            position: Position::Time(Timestamp::new(seconds, increment)),
            done: done_seconds.map(done),
        }
    }

    #[test]
    fn the_same_stream_goes_on_where_it_was() {
        let checkpoint = checkpoint(&[
            ("x", &["a", "b"], token(Some(9)), Some(8)),
            ("y", &["b"], token(None), None),
        ]);
        for (digest, stored) in [("x", 0), ("y", 1)] {
            let frontier = resume(&checkpoint, digest, &["b"]).unwrap();
            assert_eq!(frontier, checkpoint.streams[stored].frontier);
        }
        // A module that was never seen has nothing to lose.
        let frontier = resume(&checkpoint, "y", &["b", "new"]).unwrap();
        assert_eq!(frontier, checkpoint.streams[1].frontier);
    }

    #[test]
    fn another_stream_goes_on_by_the_time_of_those_that_its_modules_saw() {
        let checkpoint = checkpoint(&[
            ("x", &["a"], token(Some(9)), Some(9)),
            ("y", &["b"], token(Some(7)), Some(8)),
            ("z", &["c"], token(Some(5)), None),
        ]);
        for (modules, expected) in [
            (&["a"][..], by_time(9, 4, Some(9))),
            (&["a", "b"], by_time(7, 4, Some(8))),
            (&["a", "new"], by_time(9, 4, Some(9))),
            (&["a", "c"], by_time(5, 4, None)),
            (&["new"], by_time(5, 4, None)),
            (&[], by_time(5, 4, None)),
        ] {
            assert_eq!(
                resume(&checkpoint, "other", modules).unwrap(),
                expected,
                "{modules:?}"
            );
        }
    }

    #[test]
    fn a_module_that_moves_to_a_stream_that_is_ahead_loses_nothing() {
        let checkpoint = checkpoint(&[
            ("x", &["a"], token(Some(9)), Some(9)),
            ("y", &["b"], token(Some(7)), Some(7)),
        ]);
        let frontier = resume(&checkpoint, "x", &["a", "b"]).unwrap();
        assert_eq!(frontier, by_time(7, 4, Some(7)));
    }

    #[test]
    fn another_source_goes_on_by_time() {
        let oplog = Position::Oplog(OpTime {
            timestamp: Timestamp::new(9, 0),
            term: 2,
        });
        let checkpoint = checkpoint(&[("oplog", &["a"], oplog, Some(8))]);
        assert_eq!(
            resume(&checkpoint, "stream", &["a"]).unwrap(),
            by_time(8, u32::MAX, Some(8))
        );
    }

    #[test]
    fn a_token_that_tells_no_time_is_good_for_its_own_stream_only() {
        let checkpoint = checkpoint(&[("x", &["a"], token(None), Some(8))]);
        assert!(resume(&checkpoint, "x", &["a"]).is_ok());
        let error = resume(&checkpoint, "y", &["a"]).unwrap_err();
        assert!(matches!(error, Error::NoClusterTime { .. }), "{error:?}");
    }

    #[test]
    fn what_was_set_by_hand_holds_for_any_stream() {
        let position = Position::Time(Timestamp::new(9, 5));
        let set = Checkpoint::by_hand("n", SourceKind::Oplog, position.clone());
        assert_eq!(resume(&set, "x", &["a"]).unwrap(), Frontier::at(position));
        let token = Checkpoint::by_hand("n", SourceKind::ChangeStream, token(Some(9)));
        assert_eq!(resume(&token, "x", &["a"]).unwrap(), by_time(9, 4, None));
    }

    /// The streams of these deployments, each `x` for the module `a`, at its second.
    fn of_clusters(clusters: &[(Option<&str>, u32)]) -> Checkpoint {
        let streams: Vec<_> = clusters
            .iter()
            .map(|(_, seconds)| ("x", &["a"][..], token(Some(*seconds)), Some(*seconds)))
            .collect();
        let mut checkpoint = checkpoint(&streams);
        for (stream, (cluster, _)) in checkpoint.streams.iter_mut().zip(clusters) {
            stream.cluster = cluster.map(|name| Cluster::new(name, None));
        }
        checkpoint
    }

    /// The second at which each of these deployments goes on.
    fn resumed(checkpoint: &Checkpoint, clusters: &[&str]) -> Vec<Option<Frontier>> {
        let wanted = clusters.iter().map(|name| StreamIdentity {
            digest: "x".into(),
            modules: vec!["a".into()],
            cluster: Some(Cluster::new(name, None)),
        });
        checkpoint.resume(&wanted.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn each_deployment_goes_on_where_it_was_in_any_order() {
        let checkpoint = of_clusters(&[(Some("eu"), 5), (Some("us"), 9)]);
        let at = |index: usize| Some(checkpoint.streams[index].frontier.clone());
        assert_eq!(resumed(&checkpoint, &["eu", "us"]), [at(0), at(1)]);
        assert_eq!(resumed(&checkpoint, &["us", "eu"]), [at(1), at(0)]);
        assert_eq!(resumed(&checkpoint, &["us"]), [at(1)]);
        assert_eq!(resumed(&checkpoint, &["asia", "us"]), [None, at(1)]);
        assert_eq!(resumed(&checkpoint, &["asia"]), [None]);
    }

    #[test]
    fn one_deployment_goes_on_for_another() {
        let checkpoint = of_clusters(&[(Some("eu"), 5)]);
        let saved = Some(checkpoint.streams[0].frontier.clone());
        assert_eq!(resumed(&checkpoint, &["eu2"]), [saved]);
        assert_eq!(resumed(&checkpoint, &["eu2", "us"]), [None, None]);
    }

    #[test]
    fn what_is_of_no_deployment_is_good_for_each_by_its_time() {
        let checkpoint = of_clusters(&[(None, 5)]);
        let saved = Some(checkpoint.streams[0].frontier.clone());
        assert_eq!(resumed(&checkpoint, &["eu"]), [saved]);
        let by_time = Some(by_time(5, 4, None));
        assert_eq!(
            resumed(&checkpoint, &["eu", "us"]),
            [by_time.clone(), by_time]
        );
        let position = Position::Time(Timestamp::new(7, 1));
        let set = Checkpoint::by_hand("n", SourceKind::Oplog, position.clone());
        let set_to = Some(Frontier::at(position));
        assert_eq!(resumed(&set, &["eu", "us"]), [set_to.clone(), set_to]);
    }

    /// Which of these deployments have reads of such deployments, that a checkpoint has of those.
    fn reads_of(saved: &[&str], reads: &[Option<&str>], wanted: &[&str]) -> Vec<usize> {
        let clusters: Vec<_> = saved.iter().map(|&name| (Some(name), 5)).collect();
        let mut checkpoint = of_clusters(&clusters);
        let read = |cluster: &Option<&str>| DirectRead {
            cluster: cluster.map(|name| Cluster::new(name, None)),
            ..crate::checkpoint::direct_read::tests::half_done()
        };
        checkpoint.direct_reads = reads.iter().map(read).collect();
        let wanted = wanted.iter().map(|name| Cluster::new(name, None));
        let found = checkpoint.direct_reads_of(&wanted.collect::<Vec<_>>());
        found.iter().map(Vec::len).collect()
    }

    #[test]
    fn what_was_read_is_of_one_deployment() {
        let (eu, us) = (Some("eu"), Some("us"));
        for (saved, reads, wanted, expected) in [
            (
                &["eu", "us"][..],
                &[eu, eu, us][..],
                &["us", "eu"][..],
                &[1, 2][..],
            ),
            (&["eu", "us"], &[eu, eu, us], &["asia", "us"], &[0, 1]),
            // Another one in its place.
            (&["eu"], &[eu], &["asia"], &[1]),
            (&["eu"], &[eu], &["asia", "us"], &[0, 0]),
            // Those that did not note it.
            (&["eu"], &[None], &["eu"], &[1]),
            (&["eu"], &[None], &["asia"], &[1]),
            (&["eu"], &[None], &["us", "eu"], &[0, 1]),
        ] {
            let found = reads_of(saved, reads, wanted);
            assert_eq!(found, expected, "{saved:?} {reads:?} {wanted:?}");
        }
    }
}
