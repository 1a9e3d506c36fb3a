//! Enums whose variants people choose by name: all of them, and the sentence that explains each.

/// Declares such an enum. The documentation of a variant, one line, is also what `about` gives.
macro_rules! documented {
    (
        $(#[$of_enum:meta])*
        pub enum $name:ident {
            $(#[doc = $about:literal] $(#[serde(rename = $text:literal)])? $variant:ident,)*
        }
    ) => {
        $(#[$of_enum])*
        pub enum $name {
            $(#[doc = $about] $(#[serde(rename = $text)])? $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: [$name; [$($name::$variant,)*].len()] = [$($name::$variant,)*];

            /// What it is, in one sentence.
            pub fn about(self) -> &'static str {
                match self {
                    $($name::$variant => $about.trim_ascii(),)*
                }
            }
        }
    };
}

pub(crate) use documented;
