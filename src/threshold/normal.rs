//! Normal life as far as it was seen -> the limit that keeps a budget, whatever is taken for an incident.

use super::{Block, DayParts, Outlook, Rhythm, Rule, Threshold, block_seconds, outside};
use crate::config::Budget;
use std::ops::Range;

/// What was seen while learning says nothing more once so many times as much was watched: it was scored by models that
/// had learned from less.
const OUTGROWN: usize = 4;

/// The blocks of a detector's life, and what is made of them.
#[derive(Debug, Clone)]
pub struct Normal {
    pub rule: Rule,
    pub budget: Option<Budget>,
    /// Parts of the day that are told apart.
    pub day: DayParts,
    /// Of the model's calibration; their clock is their own.
    pub learned: Vec<Block>,
    /// Of what was watched since, oldest first; seconds since 1970.
    pub watched: Vec<Block>,
}

/// What follows from normal life.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    pub outlook: Outlook,
    /// Of the budget: in scores; in deviations from what is usual at the time, where the outlook has a rhythm.
    pub limit: Option<f64>,
}

impl Normal {
    /// Since when blocks were watched, seconds since 1970.
    pub fn begins(&self) -> Option<f64> {
        self.watched.first().map(|block| block.from)
    }

    /// What follows where `incidents`, seconds since 1970, are no normal life.
    pub fn look(&self, incidents: &[Range<f64>]) -> Look {
        let mut blocks = outside(&self.watched, incidents, self.rule.close_after.as_secs_f64());
        let rhythm = Rhythm::of(&blocks, block_seconds(&self.rule), &self.day);
        if let Some((rhythm, now)) = rhythm.zip(self.watched.last()) {
            // What was learned from has no time of day, and is outgrown by days of watching.
            let outlook = Outlook::of(&rhythm.level(&blocks, &self.day), &self.rule, self.budget);
            let limit = outlook.asked.map(|point| point.limit);
            let usual = rhythm.usual(self.day.part(now.to));
            return Look { outlook: outlook.in_scores(rhythm, usual), limit };
        }
        if blocks.len() < OUTGROWN * self.learned.len() {
            blocks = self.learned.iter().copied().chain(blocks).collect();
        }
        let outlook = Outlook::of(&blocks, &self.rule, self.budget);
        Look { limit: outlook.asked.map(|point| point.limit), outlook }
    }

    /// The threshold at a time, seconds since 1970, of what followed from a look; `plain` is mu + k sigma of what was learned
    /// from.
    pub fn threshold(
        &self,
        rhythm: Option<&Rhythm>,
        limit: Option<f64>,
        plain: Threshold,
        at: f64,
    ) -> Threshold {
        let asked = self.budget.zip(limit);
        let Some(rhythm) = rhythm else {
            return asked.map_or(plain, |(budget, limit)| plain.keeping(budget, limit));
        };
        let usual = rhythm.usual(self.day.part(at));
        let about = plain.about(usual);
        asked.map_or(about, |(budget, limit)| about.keeping(budget, usual.mu + usual.sigma * limit))
    }
}
