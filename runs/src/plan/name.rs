//! The name of a run, and the command that trains it.

use super::{Budget, DEFAULT_CORPUS, LONGEST_MIXTURE, Plan, PlannedPart, TrainOn};
use super::{default_tokens, file_safe};
use crate::precision::Precision;
use crate::recipe::{DEFAULT_CONTEXT, Recipe, Setting, text};
use crate::tokenization::Tokenization;
use crate::units::{shell_word, short_count};

impl Plan {
    /// The stable name of a run: its choices, those that are not the usual ones included.
    #[must_use]
    pub fn name_of(&self) -> String {
        let mut name = format!("{}-{}-{}", self.size, self.tokenization, self.recipe);
        if self.corpus != DEFAULT_CORPUS {
            name += &format!("-{}", self.corpus_label());
        }
        if self.train_on == TrainOn::All {
            name += "-all";
        }
        if self.context != DEFAULT_CONTEXT {
            name += &format!("-c{}", self.context);
        }
        let sequences = self.batch * self.accumulation;
        let usual = self.usual();
        if sequences != usual.batch * usual.accumulation {
            name += &format!("-b{sequences}");
        }
        match self.budget {
            Budget::Tokens(tokens) if tokens == default_tokens(self.size) => {}
            Budget::Tokens(tokens) => name += &format!("-{}tok", short_count(tokens)),
            Budget::Steps(steps) => name += &format!("-{}steps", short_count(steps)),
            Budget::Minutes(minutes) => name += &format!("-{minutes}min"),
        }
        if self.precision != Precision::F32 {
            name += &format!("-{}", self.precision);
        }
        for Setting { choice, value } in self.unusual() {
            // The sequences of a step are named already.
            if !["batch", "accumulation"].contains(&choice.key) {
                name += &format!("-{}={}", choice.short, text(&value));
            }
        }
        format!("{name}-s{}", self.seed)
    }

    /// The command that trains such a run.
    #[must_use]
    pub fn command(&self) -> String {
        let mut command = format!("lmtrain fit --size {}", self.size);
        let mut add = |is_unusual: bool, flag: &str, value: String| {
            if is_unusual {
                command += &format!(" --{flag} {}", shell_word(&value));
            }
        };
        let tokenization = &self.tokenization;
        add(*tokenization != Tokenization::Bytes, "tokenizer", tokenization.to_string());
        add(self.corpus != DEFAULT_CORPUS, "corpus", self.corpus.clone());
        add(self.recipe != Recipe::ALL[0], "recipe", self.recipe.to_string());
        for Setting { choice, value } in self.unusual() {
            add(true, "set", format!("{}={}", choice.key, text(&value)));
        }
        match self.budget {
            Budget::Tokens(tokens) => {
                add(tokens != default_tokens(self.size), "tokens", tokens.to_string());
            }
            Budget::Steps(steps) => add(true, "steps", steps.to_string()),
            Budget::Minutes(minutes) => add(true, "minutes", minutes.to_string()),
        }
        add(self.context != DEFAULT_CONTEXT, "context", self.context.to_string());
        add(self.train_on == TrainOn::All, "train-on", "all".to_owned());
        add(self.seed != 0, "seed", self.seed.to_string());
        add(self.precision != Precision::F32, "precision", self.precision.to_string());
        add(self.name != self.name_of(), "name", self.name.clone());
        command
    }

    /// The corpus in a run's name; of a mixture `mix`, and its parts as far as there is room for them.
    fn corpus_label(&self) -> String {
        if self.parts.is_empty() {
            return file_safe(&self.corpus);
        }
        let label = |part: &PlannedPart| match part.weight {
            Some(weight) => format!("{}={weight}", file_safe(&part.corpus)),
            None => file_safe(&part.corpus),
        };
        let parts: Vec<String> = self.parts.iter().map(label).collect();
        let parts = parts.join("-");
        if parts.len() <= LONGEST_MIXTURE {
            return format!("mix-{parts}");
        }
        let digits: String = self.corpus_sha256.chars().take(6).collect();
        format!("mix-{}-{digits}", &parts[..LONGEST_MIXTURE])
    }
}
