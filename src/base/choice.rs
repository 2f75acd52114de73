//! Closed sets whose members have names: the same in configurations, on the command line and in files.

/// What every such set can do, for code that serves all of them.
pub trait Choice: Copy + Send + Sync + 'static {
    /// In the order of the set.
    const NAMES: &'static [&'static str];

    fn named(name: &str) -> Option<Self>;
}

/// Makes an enum of named members, with `ALL`, `NAMES`, `name` and `named`; shown and serialized as its name.
macro_rules! choices {
    ($(#[$meta:meta])* $visible:vis enum $name:ident {
        $($(#[$of_member:meta])* $member:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $visible enum $name { $($(#[$of_member])* $member),+ }

        impl $name {
            /// Every one.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$member),+];
            /// The names of [`Self::ALL`].
            pub const NAMES: [&'static str; [$($text),+].len()] = [$($text),+];

            pub fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }

            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|member| member.name() == name)
            }
        }

        impl $crate::base::Choice for $name {
            const NAMES: &'static [&'static str] = &Self::NAMES;

            fn named(name: &str) -> Option<Self> {
                Self::named(name)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        $crate::base::inline_schema!($name, { "type": "string", "enum": $name::NAMES });

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

pub(crate) use choices;

#[cfg(test)]
mod tests {
    choices! {
        /// Of a traffic light.
        enum Colour { Red = "red", DeepAmber = "deep-amber" }
    }

    #[test]
    fn every_member_is_found_by_its_name_and_written_as_it() {
        for colour in Colour::ALL {
            assert_eq!(Colour::named(colour.name()), Some(colour));
            assert_eq!(serde_json::json!(colour), colour.to_string());
        }
        assert_eq!((Colour::DeepAmber.name(), Colour::named("DeepAmber")), ("deep-amber", None));
    }
}
