//! The files that a corpus of images or sounds was decoded from: where each one ends, and which were left out.

use std::path::Path;

use lmtrain_runs::medium::{MEDIA_CHUNK_BYTES, Medium, PATCH_HEIGHT, PATCH_WIDTH};
use serde::{Deserialize, Serialize};

/// Files that are named; of more, only how many.
const MOST_NAMED: usize = 100;
/// Files that a line names.
const NAMED_IN_A_LINE: usize = 3;

/// The results for the files of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Chunks of each file that gave any, in order.
    pub(crate) chunks: Vec<u32>,
    /// Files that do not decode.
    pub broken: LeftOut,
    /// Files that do not fill a chunk.
    pub too_short: LeftOut,
    /// Sounds with a sample rate other than the requested one.
    pub other_rate: LeftOut,
    /// Links that lead nowhere, or to a folder that they are in.
    pub not_followed: LeftOut,
    /// Files that are neither images nor sounds of the set's kind.
    pub others: u64,
}

/// Files that are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// How many.
    pub count: u64,
    /// The first of them, each with the reason.
    pub first: Vec<(String, String)>,
}

impl LeftOut {
    pub(crate) fn add(&mut self, file: &Path, reason: String) {
        self.count += 1;
        if self.first.len() < MOST_NAMED {
            self.first.push((file.display().to_string(), reason));
        }
    }

    /// `a.png (63 × 400), b.png (1 × 1) …`.
    pub(crate) fn named(&self) -> String {
        let shown = self.first.iter().take(NAMED_IN_A_LINE);
        let named: Vec<String> = shown.map(|(file, why)| format!("{file} ({why})")).collect();
        let more = if self.count > named.len() as u64 { " …" } else { "" };
        format!("{}{more}", named.join(", "))
    }
}

impl Files {
    /// Files of so many chunks each, for tests.
    #[cfg(test)]
    pub(crate) fn of_chunks(chunks: &[u32]) -> Self {
        Self { chunks: chunks.to_vec(), ..Self::default() }
    }

    /// Files that gave chunks.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.chunks.len() as u64
    }

    /// Chunks of all of them.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunks.iter().map(|&chunks| u64::from(chunks)).sum()
    }

    /// The byte that each file ends before, ascending.
    pub fn ends(&self) -> impl Iterator<Item = u64> + '_ {
        self.chunks.iter().scan(0, |end, &chunks| {
            *end += u64::from(chunks) * MEDIA_CHUNK_BYTES;
            Some(*end)
        })
    }

    /// The files that were left out, in lines for the user; none if all were used.
    #[must_use]
    pub fn notes(&self, medium: Medium) -> Vec<String> {
        let looked_at = self.count() + self.broken.count + self.too_short.count;
        let sounds = matches!(medium, Medium::Audio { .. });
        let [one, many] = if sounds { ["sound", "sounds"] } else { ["image", "images"] };
        let line = |left_out: &LeftOut, what: &str| {
            let noun = if left_out.count == 1 { one } else { many };
            let line = format!("{} {noun} {what}: {}", left_out.count, left_out.named());
            (left_out.count > 0).then_some(line)
        };
        let broken = format!("of {looked_at} left out, not decodable");
        let short = match medium {
            Medium::Audio { .. } => "left out, shorter than a chunk".to_owned(),
            _ => format!("left out, smaller than a patch of {PATCH_WIDTH} × {PATCH_HEIGHT}"),
        };
        let not_followed = &self.not_followed;
        let links = format!("{} links not followed: {}", not_followed.count, not_followed.named());
        let lines = [
            line(&self.broken, &broken),
            line(&self.too_short, &short),
            line(&self.other_rate, "left out, of another sample rate"),
            (not_followed.count > 0).then_some(links),
        ];
        lines.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_told() {
        let mut files = Files { chunks: vec![2, 1], ..Files::default() };
        assert_eq!(files.ends().collect::<Vec<_>>(), [4096, 6144]);
        assert_eq!((files.count(), files.chunks(), files.notes(Medium::PATCHES).len()), (2, 3, 0));
        files.broken.add(Path::new("a/b.png"), "it is truncated".to_owned());
        for name in 0..5 {
            files.too_short.add(Path::new(&format!("{name}.png")), "1 × 1".to_owned());
        }
        let notes = files.notes(Medium::PATCHES);
        assert_eq!(
            notes,
            [
                "1 image of 8 left out, not decodable: a/b.png (it is truncated)",
                "5 images left out, smaller than a patch of 64 × 32: \
                 0.png (1 × 1), 1.png (1 × 1), 2.png (1 × 1) …",
            ]
        );
        for _ in 0..1000 {
            files.other_rate.add(Path::new("x"), "8000 Hz".to_owned());
        }
        assert_eq!((files.other_rate.count, files.other_rate.first.len()), (1000, MOST_NAMED));
        let sounds = files.notes(Medium::Audio { bits: 8, rate_hz: 16_000 });
        assert!(sounds[1].starts_with("5 sounds left out, shorter than a chunk"), "{sounds:?}");
    }
}
