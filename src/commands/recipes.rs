//! `lmtrain recipes`: the table of choices, with each recipe's values.

use std::io::Write;

use anyhow::Result;
use lmtrain_runs::Recipe;
use lmtrain_runs::recipe::{CHOICES, Choice, text};
use serde_json::{Map, Value, json};

use super::output::print_json;
use crate::context::Context;

pub(super) fn run(context: &Context) -> Result<()> {
    if context.json {
        return print_json(&CHOICES.iter().map(as_json).collect::<Vec<_>>());
    }
    let rows = Recipe::ALL.map(Recipe::row);
    let mut out = std::io::stdout().lock();
    let [modern, paper] = Recipe::ALL.map(|recipe| recipe.to_string());
    writeln!(out, "{:<24} {modern:>13} {paper:>11}  {:<7} what it is", "key", "in names")?;
    for choice in CHOICES {
        let value = |row: &lmtrain_runs::recipe::Row| match row.choices.idle(choice.key) {
            None => text(&row.get(choice)),
            Some(_) => format!("({})", text(&row.get(choice))),
        };
        let [modern, paper] = [value(&rows[0]), value(&rows[1])];
        let Choice { key, short, about, .. } = choice;
        let range = choice.range();
        writeln!(out, "{key:<24} {modern:>13} {paper:>11}  {short:<8} {about} ({range})")?;
    }
    context.say("values in brackets have no effect, given the recipe's other choices");
    context.say(
        "`head-size` of a recipe is the smallest that a named size gets; larger sizes keep their own. With a --context \
         longer than 2048, `modern` has `batch` 1",
    );
    context.say("to change one: `lmtrain fit --set KEY=VALUE`, or in a plan `set.KEY = [VALUES]`");
    Ok(())
}

fn as_json(choice: &Choice) -> Value {
    let of = |recipe: Recipe| (recipe.to_string(), recipe.row().get(choice));
    let recipes: Map<String, Value> = Recipe::ALL.into_iter().map(of).collect();
    json!({
        "key": choice.key,
        "short": choice.short,
        "range": choice.range(),
        "about": choice.about,
        "recipes": recipes,
    })
}
