//! Every closed set of values that a metric's label can have.

/// A closed set of label values.
pub(super) trait Label: Copy + 'static {
    const ALL: &'static [Self];
    fn text(self) -> &'static str;
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$($name::$variant),+];
            fn text(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }
    };
}

labels! {
    /// Where a camera's connection stands.
    Link {
        Connecting = "connecting", Live = "live", Stalled = "stalled", Lost = "lost", BackingOff = "backing_off",
        Disabled = "disabled", Finished = "finished",
    }
}
labels! {
    /// Why a camera's picture cannot be believed.
    Sight {
        Frozen = "frozen", Black = "black", Covered = "covered", Blurred = "blurred", Moved = "moved",
        Damaged = "damaged",
    }
}
labels! {
    /// Whether a camera can alert.
    Learning { Learning = "learning", Armed = "armed", Relearning = "relearning" }
}
labels! {
    /// How grave an alert is.
    Level { Low = "low", Medium = "medium", High = "high" }
}
labels! {
    /// Why an alert is announced to nobody.
    Silence { CoolDown = "cool_down", RateCap = "rate_cap" }
}
labels! {
    /// Why a frame was thrown away.
    DropReason {
        /// The next stage was busy and the lane full.
        QueueFull = "queue_full",
        /// It belonged to a run that broke off before its segment was full.
        RunEnded = "run_ended",
        /// The source could not decode it.
        Damaged = "damaged",
    }
}
labels! {
    /// Why a connection was given up and made again.
    ReconnectReason {
        Unauthorized = "unauthorized", Unreachable = "unreachable", NotFound = "not_found", NoVideo = "no_video",
        Broken = "broken", Stalled = "stalled", Setup = "setup", Ended = "ended",
    }
}
labels! {
    /// Why a whole segment has no score.
    SkipReason {
        QueueFull = "queue_full",
        /// There is no model yet.
        Learning = "learning",
        /// The model failed.
        Model = "model",
        /// The score was NaN or infinite.
        NotFinite = "not_finite",
        /// The camera is not to open events now: scored, and not judged.
        Off = "off",
        /// The whole picture changed.
        SceneChange = "scene_change",
        /// It is made of damaged or incomplete data: scored, and not judged.
        Damaged = "damaged",
    }
}
labels! {
    /// A stage of the path.
    Stage {
        Extract = "extract", Score = "score", Decide = "decide", Store = "store", Snapshot = "snapshot",
        Train = "train", Why = "why", Gallery = "gallery",
    }
}
labels! {
    /// A bounded lane between two stages, named for what it carries.
    Queue { Frames = "frames", Segments = "segments", Features = "features", Scores = "scores", Store = "store" }
}
labels! {
    /// What became of an announcement.
    Delivery {
        Ok = "ok",
        /// It could not be delivered, and is tried again.
        Failed = "failed",
        /// It was given up, and lies among the dead letters.
        Dead = "dead",
        /// It waited too long, or too many waited, and is gone.
        Dropped = "dropped",
    }
}

labels! {
    /// What became of an event's clip.
    ClipResult {
        Written = "written",
        /// It could not be written.
        Failed = "failed",
        /// Too many events at once.
        Dropped = "dropped",
        /// The disk is nearly full.
        Shed = "shed",
        /// The camera sends nothing that a clip can be made of.
        Impossible = "impossible",
    }
}
