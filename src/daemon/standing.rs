//! How a camera stands, in one place: its connection, and beside it what its picture is worth. Pure.
//!
//! The API, the page, the metrics and the sinks all take it from here.

use crate::api::{LinkState, PictureStatus};
use crate::base::Timestamp;
use crate::segment::PictureState;

/// How a camera stands.
#[derive(Debug, Clone)]
pub struct Standing {
    link: LinkState,
    /// Why there are no pictures.
    problem: Option<String>,
    /// The last connection was lost because pictures stopped coming.
    silent: bool,
    /// What the newest pictures are worth, but for where they were taken ...
    picture: PictureState,
    /// ... which is elsewhere than before.
    moved: bool,
    /// Much of what comes is damaged.
    damaged: bool,
    /// Since when they are told to be worth what they are.
    since: Option<Timestamp>,
}

/// What happened to it.
#[derive(Debug, Clone)]
pub enum Change {
    /// The connection is in a state, which may have a reason.
    Link(LinkState, Option<String>),
    /// The picture is worth something else.
    Picture(PictureState),
    /// The camera looks at something else than before, or at the same again.
    Moved(bool),
    /// Much of what comes is damaged, or no longer.
    Damaged(bool),
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            link: LinkState::Connecting,
            problem: None,
            silent: false,
            picture: PictureState::Healthy,
            moved: false,
            damaged: false,
            since: None,
        }
    }
}

impl Standing {
    /// Takes what happened at `now`. Whether anything is to be told otherwise than before.
    pub fn change(&mut self, change: Change, now: Timestamp) -> bool {
        let before = (self.link, self.sight(), self.problem.clone());
        match change {
            Change::Link(link, problem) => {
                self.link = link;
                match link {
                    LinkState::Live => (self.problem, self.silent) = (None, false),
                    LinkState::Stalled => self.silent = true,
                    LinkState::Lost | LinkState::Disabled | LinkState::Finished => self.silent = false,
                    // It fails for the reason from before, until another one is known.
                    LinkState::Connecting | LinkState::BackingOff => {}
                }
                self.problem = problem.or(self.problem.take());
            }
            Change::Picture(state) => self.picture = state,
            Change::Moved(moved) => self.moved = moved,
            Change::Damaged(damaged) => self.damaged = damaged,
        }
        if before.1 != self.sight() {
            self.since = Some(now);
        }
        before != (self.link, self.sight(), self.problem.clone())
    }

    pub fn link(&self) -> LinkState {
        self.link
    }

    /// What its picture is worth. While none come, nothing can be said against it; what was wrong with it is known
    /// again as soon as they do.
    pub fn sight(&self) -> PictureState {
        match (self.link, self.picture) {
            (LinkState::Live, _) if self.damaged => PictureState::Damaged,
            (LinkState::Live, PictureState::Healthy | PictureState::Blurred) if self.moved => {
                PictureState::Moved
            }
            (LinkState::Live, picture) => picture,
            _ => PictureState::Healthy,
        }
    }

    pub fn picture(&self) -> PictureStatus {
        PictureStatus { state: self.sight(), since: self.since }
    }

    /// Why there are no pictures, or why they cannot be believed; with a remedy.
    pub fn problem(&self) -> Option<String> {
        self.problem.clone().or_else(|| self.sight().problem().map(str::to_owned))
    }

    /// Pictures come no more, or came no more before the connection was taken down.
    pub fn is_silent(&self) -> bool {
        self.silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKS: [LinkState; 7] = [
        LinkState::Connecting,
        LinkState::Live,
        LinkState::Stalled,
        LinkState::Lost,
        LinkState::BackingOff,
        LinkState::Disabled,
        LinkState::Finished,
    ];
    const SEEN: [PictureState; 5] = [
        PictureState::Healthy,
        PictureState::Frozen,
        PictureState::Black,
        PictureState::Covered,
        PictureState::Blurred,
    ];

    fn changes() -> Vec<Change> {
        let why = |link: LinkState| match link {
            LinkState::Stalled => Some("silence (wait)".to_owned()),
            LinkState::Lost => Some("cut (mend)".to_owned()),
            _ => None,
        };
        let links = LINKS.map(|link| Change::Link(link, why(link)));
        let pictures = SEEN.map(Change::Picture);
        let [moved, damaged] = [Change::Moved, Change::Damaged].map(|what| [true, false].map(what));
        [&links[..], &pictures, &moved, &damaged].concat()
    }

    /// Every sequence of up to four changes, from the beginning.
    #[test]
    fn whatever_happens_all_that_is_told_fits_together() {
        fn go(
            standing: &Standing,
            told: PictureState,
            depth: usize,
            second: i64,
            reached: &mut Vec<(u8, u8)>,
        ) {
            let place = |state: PictureState| state as u8;
            reached.push((
                LINKS.iter().position(|l| *l == standing.link()).expect("a state") as u8,
                place(told),
            ));
            if depth == 4 {
                return;
            }
            for change in changes() {
                let mut next = standing.clone();
                let now = Timestamp::from_second(second).expect("in range");
                let changed = next.change(change.clone(), now);
                let (link, sight, picture) = (next.link(), next.sight(), next.picture());
                // What did not happen to it stays; what did is there.
                match &change {
                    Change::Link(to, _) => {
                        assert_eq!((link, next.picture, next.moved), (*to, standing.picture, standing.moved))
                    }
                    Change::Picture(to) => {
                        assert_eq!((link, next.picture, next.moved), (standing.link, *to, standing.moved))
                    }
                    Change::Moved(to) => {
                        assert_eq!((link, next.picture, next.moved), (standing.link, standing.picture, *to))
                    }
                    Change::Damaged(to) => {
                        assert_eq!((link, next.picture, next.damaged), (standing.link, standing.picture, *to))
                    }
                }
                // A bad picture is told of a camera that is live, and has a reason and a time.
                assert_eq!(picture.state, sight);
                assert!(sight == PictureState::Healthy || link == LinkState::Live, "{next:?}");
                assert_eq!(sight != told, picture.since == Some(now), "{change:?}: {next:?}");
                assert!(sight == told || changed, "{change:?}: {next:?}");
                // Live and healthy is without a problem, everything else that hurts has one.
                let hurts = link == LinkState::Live && sight != PictureState::Healthy
                    || matches!(link, LinkState::Stalled | LinkState::Lost);
                assert!(!hurts || next.problem().is_some(), "{next:?}");
                assert!(link != LinkState::Live || hurts || next.problem().is_none(), "{next:?}");
                // Silence outlasts the attempts that follow, and nothing else.
                match link {
                    LinkState::Stalled => assert!(next.is_silent()),
                    LinkState::Connecting | LinkState::BackingOff => {
                        assert_eq!(next.is_silent(), standing.is_silent())
                    }
                    _ => {
                        assert!(
                            !next.is_silent()
                                || matches!(
                                    change,
                                    Change::Picture(_) | Change::Moved(_) | Change::Damaged(_)
                                )
                        )
                    }
                }
                // The same again changes nothing.
                assert!(!next.clone().change(change, now));
                go(&next, sight, depth + 1, second + 1, reached);
            }
        }
        let mut reached = vec![];
        go(&Standing::default(), PictureState::Healthy, 0, 1, &mut reached);
        reached.sort_unstable();
        reached.dedup();
        // Seven kinds of picture when it is live, and one in each of the other six states.
        assert_eq!(reached.len(), 7 + 6, "{reached:?}");
    }

    #[test]
    fn what_is_wrong_with_the_picture_is_known_again_when_the_camera_is_back() {
        let (mut standing, at) = (Standing::default(), Timestamp::from_second(9).expect("in range"));
        let live = || Change::Link(LinkState::Live, None);
        standing.change(live(), at);
        standing.change(Change::Moved(true), at);
        standing.change(Change::Picture(PictureState::Black), at);
        assert_eq!(standing.sight(), PictureState::Black, "the better reason");
        standing.change(Change::Link(LinkState::Lost, Some("cut (mend)".into())), at);
        standing.change(Change::Link(LinkState::BackingOff, None), at);
        assert_eq!(
            (standing.sight(), standing.problem()),
            (PictureState::Healthy, Some("cut (mend)".into()))
        );
        standing.change(live(), at);
        assert_eq!(standing.sight(), PictureState::Black);
        standing.change(Change::Picture(PictureState::Healthy), at);
        assert_eq!(standing.sight(), PictureState::Moved);
    }
}
