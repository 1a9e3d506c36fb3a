//! The two kinds of pictures of a user, with their numbers in the store.

/// A kind of picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// The photo of the user (`USERPIC`).
    User,
    /// A photo for comparison (`BIOPHOTO`).
    Comparison,
}

impl PictureKind {
    const ALL: [Self; 2] = [Self::User, Self::Comparison];

    /// The number of the kind in the store. It never changes: stores in the field hold it.
    pub fn code(self) -> u8 {
        match self {
            Self::User => 0,
            Self::Comparison => 1,
        }
    }

    /// The kind with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The name that drivers use for the kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Comparison => "comparison",
        }
    }

    /// The kind with this name of the driver protocol.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_and_names_of_the_kinds_are_fixed() {
        for (code, name) in [(0, "user"), (1, "comparison")] {
            let kind = PictureKind::from_code(code).unwrap();
            assert_eq!((kind.code(), kind.name()), (code, name));
            assert_eq!(PictureKind::from_name(name), Some(kind));
        }
        assert_eq!((PictureKind::from_code(2), PictureKind::from_name("photo")), (None, None));
    }
}
