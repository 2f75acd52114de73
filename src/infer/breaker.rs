//! Keeps a model whose runs do not end from taking everybody's time: after some in a row it is left alone for a while.

/// Runs in a row that had to be stopped before the next ones are refused ...
const PATIENCE: u32 = 2;
/// ... at first so many of them, then twice as many after every further try ...
const FIRST_REFUSED: u32 = 16;
/// ... up to this: at two segments a second some four minutes.
const MOST_REFUSED: u32 = 512;

/// Counts runs instead of seconds, so that it needs no clock.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// In a row.
    stopped: u32,
    refused_next: u32,
    /// Runs that are still refused.
    left: u32,
}

impl Breaker {
    /// Whether a run may be tried; `Err` says how many in a row had to be stopped.
    pub(super) fn admits(&mut self) -> Result<(), u32> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Err(self.stopped)
            }
            None => Ok(()),
        }
    }

    /// A run came to its end, by itself or because it was stopped.
    pub(super) fn ran(&mut self, stopped: bool) {
        if !stopped {
            *self = Self::default();
            return;
        }
        self.stopped += 1;
        if self.stopped >= PATIENCE {
            self.left = self.refused_next.max(FIRST_REFUSED);
            self.refused_next = (self.left * 2).min(MOST_REFUSED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many runs are refused before the next one is tried.
    fn refused(breaker: &mut Breaker) -> usize {
        std::iter::repeat_with(|| breaker.admits()).take_while(Result::is_err).count()
    }

    #[test]
    fn what_does_not_end_is_tried_more_and_more_seldom() {
        let mut breaker = Breaker::default();
        let mut seen = vec![];
        for _ in 0..9 {
            seen.push(refused(&mut breaker));
            breaker.ran(true);
        }
        assert_eq!(seen, [0, 0, 16, 32, 64, 128, 256, 512, 512]);
        assert_eq!(breaker.admits(), Err(9));
    }

    #[test]
    fn one_run_that_ends_makes_all_good() {
        let mut breaker = Breaker::default();
        for stopped in [true, true] {
            breaker.ran(stopped);
        }
        assert_eq!(refused(&mut breaker), 16);
        breaker.ran(false);
        breaker.ran(true);
        assert_eq!(refused(&mut breaker), 0, "one alone may be the machine's fault");
    }
}
