//! The built-in plans, packed into the program. To add one, put its file into `runs/plans/` and a
//! row here.

/// The study that is made if none is named.
pub const DEFAULT: &str = "pocket";

/// Names and texts, short ones first.
pub const PLANS: [(&str, &str); 13] = [
    (DEFAULT, include_str!("../plans/pocket.toml")),
    ("study", include_str!("../plans/study.toml")),
    ("media", include_str!("../plans/media.toml")),
    ("context", include_str!("../plans/context.toml")),
    ("speedrun", include_str!("../plans/speedrun.toml")),
    ("figure2", include_str!("../plans/figure2.toml")),
    ("table1", include_str!("../plans/table1.toml")),
    ("table2", include_str!("../plans/table2.toml")),
    ("recipe-1", include_str!("../plans/recipe-1.toml")),
    ("recipe-2", include_str!("../plans/recipe-2.toml")),
    ("recipe-3", include_str!("../plans/recipe-3.toml")),
    ("recipe-4", include_str!("../plans/recipe-4.toml")),
    ("weights", include_str!("../plans/weights.toml")),
];

/// The text of the sweep of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static str> {
    PLANS.iter().find(|(plan, _)| *plan == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::Sweep;

    #[test]
    fn every_plan_is_packed_and_is_a_sweep() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/plans");
        let files = std::fs::read_dir(folder).expect("the plans");
        let files = files.map(|file| file.expect("an entry").path());
        let mut there: Vec<String> = files
            .filter(|file| file.extension().is_some_and(|suffix| suffix == "toml"))
            .map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        there.sort();
        let mut names = PLANS.map(|(name, _)| name);
        names.sort_unstable();
        assert_eq!(there, names);
        for (name, text) in PLANS {
            let sweep: Sweep = text.parse().expect("a sweep");
            assert!(!sweep.title.is_empty() && !sweep.fits().expect("runs").is_empty(), "{name}");
        }
        assert!(by_name(DEFAULT).is_some() && by_name("nothing").is_none());
    }

    /// Values that a key has in any grid of a plan.
    fn values(name: &str, key: &str) -> Vec<String> {
        let sweep: Sweep = by_name(name).expect("there").parse().expect("a sweep");
        let flag = format!("--{key}");
        let fits = sweep.fits().expect("runs").into_iter();
        let value = |line: Vec<String>| {
            let at = line.iter().position(|word| *word == flag)?;
            line.get(at + 1).cloned()
        };
        let mut values: Vec<String> = fits.filter_map(value).collect();
        values.sort();
        values.dedup();
        values
    }

    #[test]
    fn the_tables_are_those_of_the_paper() {
        assert_eq!(values("table1", "size"), ["200K", "3.2M", "800K"]);
        assert_eq!(values("table2", "size"), ["200K", "38M", "6.4M"]);
        let vocabularies = ["bpe-1000", "bpe-10000", "bpe-2000", "bpe-20000", "bpe-5000", "bytes"];
        assert_eq!(values("table2", "tokenizer"), vocabularies);
        for name in ["table1", "table2", "figure2"] {
            assert_eq!(values(name, "corpus"), ["enwik8"], "{name}");
            assert_eq!(values(name, "train-on"), ["all"], "{name}");
        }
    }
}
