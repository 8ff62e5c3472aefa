//! What a share of a measurement says if others are missing: the rate is recorded once all of them are there.

use lmtrain_runs::sweep::Shard;
use serde::Serialize;

/// Shares that are named in a message; more are counted.
const NAMED: usize = 8;

/// A measurement of which one share is done, and others are not. In JSON it takes the place of the record.
#[derive(Debug, Serialize)]
pub(in crate::commands) struct Unmeasured {
    /// Run or model.
    pub(super) name: String,
    pub(super) corpus: String,
    /// The share that is done.
    pub(super) share: String,
    /// Groups of chunks of the whole measurement.
    pub(super) groups: u64,
    /// Those that no share has measured yet.
    pub(super) missing_groups: u64,
    /// The shares that they are in.
    pub(super) missing_shares: Vec<String>,
}

impl Unmeasured {
    pub(super) fn new(
        [name, corpus]: [&str; 2],
        share: Shard,
        [missing_groups, groups]: [u64; 2],
        missing: &[Shard],
    ) -> Self {
        Self {
            name: name.to_owned(),
            corpus: corpus.to_owned(),
            share: share.to_string(),
            groups,
            missing_groups,
            missing_shares: missing.iter().map(Shard::to_string).collect(),
        }
    }

    /// For people: what is done, what is missing, and how it ends.
    pub(super) fn message(&self, label: &str) -> String {
        let Self { corpus, share, groups, missing_groups, missing_shares, .. } = self;
        let named = missing_shares[..missing_shares.len().min(NAMED)].join(", ");
        let shares = match missing_shares.len() {
            0 | 1 => format!("in share {named}"),
            2..=NAMED => format!("in shares {named}"),
            count => format!("in shares {named} and {} more", count - NAMED),
        };
        format!(
            "{label} on {corpus}: share {share} is measured; {missing_groups} of {groups} groups of chunks are missing, \
             {shares}\n\
             the last share to finish records the rate; the same command without `--shard` measures what is missing and \
             records it too"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_shares_are_named_if_they_are_few() {
        let message = |missing: usize, of: usize| {
            let missing: Vec<Shard> = Shard::all(of).take(missing).collect();
            let share = Shard { index: of, of };
            Unmeasured::new(["tiny", "enwik9"], share, [3, 90], &missing).message("tiny (f16)")
        };
        let one = message(1, 2);
        assert!(one.starts_with("tiny (f16) on enwik9: share 2/2 is measured; 3 of 90 groups"));
        assert!(one.contains("missing, in share 1/2\n"), "{one}");
        assert!(message(2, 3).contains("in shares 1/3, 2/3\n"));
        assert!(message(20, 30).contains("7/30, 8/30 and 12 more\n"));
    }
}
