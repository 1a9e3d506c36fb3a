//! The streams of rows for the server, each with a cursor of its own.

use super::transflag::Kind;
use super::version::Version;

/// A table of an upload (`table=`), for which the server keeps a stamp (§6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Attendance records.
    Attlog,
    /// Operations, users, templates and pictures.
    Operlog,
    /// Templates in the unified form.
    Biodata,
    /// Identity cards.
    Idcard,
    /// The error log.
    Errorlog,
    /// Photos taken at punches.
    Attphoto,
}

impl Table {
    /// Every table, in the order in which they are served.
    pub const ALL: [Self; 6] =
        [Self::Attlog, Self::Operlog, Self::Biodata, Self::Idcard, Self::Errorlog, Self::Attphoto];

    /// The name in `table=`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attlog => "ATTLOG",
            Self::Operlog => "OPERLOG",
            Self::Biodata => "BIODATA",
            Self::Idcard => "IDCARD",
            Self::Errorlog => "ERRORLOG",
            Self::Attphoto => "ATTPHOTO",
        }
    }

    /// Whether a request has one row only.
    pub fn is_single(self) -> bool {
        self == Self::Attphoto
    }

    /// The streams that are uploaded in this table.
    pub fn streams(self) -> impl Iterator<Item = Stream> {
        Stream::ALL.into_iter().filter(move |stream| stream.table() == self)
    }

    /// The names of the stamp in a handshake reply; old servers use the second.
    pub fn stamp_names(self) -> [&'static str; 2] {
        match self {
            Self::Attlog => ["attlogstamp", "stamp"],
            Self::Operlog => ["operlogstamp", "opstamp"],
            Self::Biodata => ["biodatastamp", "biodatastamp"],
            Self::Idcard => ["idcardstamp", "idcardstamp"],
            Self::Errorlog => ["errorlogstamp", "errorlogstamp"],
            Self::Attphoto => ["attphotostamp", "photostamp"],
        }
    }
}

/// A kind of rows that the terminal uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Punches (§11.2).
    Punches,
    /// Punches with an identity card (§11.7).
    IdPunches,
    /// Verifications of a person with an identity card, which are no attendance (§11.7).
    IdVerifications,
    /// The operation log (§11.4).
    Operations,
    /// Users changed on the terminal (§11.5).
    Users,
    /// Users that the server does not know yet.
    NewUsers,
    /// Fingerprints changed on the terminal (§11.9).
    Fingerprints,
    /// Fingerprints that the server does not know yet.
    NewFingerprints,
    /// Faces (§11.10).
    Faces,
    /// Finger veins (§11.11).
    FingerVeins,
    /// Templates in the unified form (§11.12), of what has no flag in `TransFlag`.
    Unified,
    /// Fingerprints in the unified form that changed on the terminal.
    UnifiedFingerprints,
    /// Fingerprints in the unified form that the server does not know yet.
    NewUnifiedFingerprints,
    /// Faces in the unified form.
    UnifiedFaces,
    /// Photos of users (§11.13).
    UserPics,
    /// Photos for comparison (§11.15).
    BioPhotos,
    /// Identity cards (§11.6).
    IdCards,
    /// The error log (§11.16).
    Errors,
    /// Photos taken at punches (§11.3).
    Photos,
    /// Photos taken at punches with an identity card (§11.8).
    IdPhotos,
}

impl Stream {
    /// Every stream, in the order in which they are served.
    pub const ALL: [Self; 20] = [
        Self::Punches,
        Self::IdPunches,
        Self::IdVerifications,
        Self::Operations,
        Self::Users,
        Self::NewUsers,
        Self::Fingerprints,
        Self::NewFingerprints,
        Self::Faces,
        Self::FingerVeins,
        Self::Unified,
        Self::UnifiedFingerprints,
        Self::NewUnifiedFingerprints,
        Self::UnifiedFaces,
        Self::UserPics,
        Self::BioPhotos,
        Self::IdCards,
        Self::Errors,
        Self::Photos,
        Self::IdPhotos,
    ];

    /// The key of the stream in the store. A code never changes and is never given to another
    /// stream: stores in the field hold it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Punches => "punch",
            Self::IdPunches => "id-punch",
            Self::IdVerifications => "id-verification",
            Self::Operations => "operation",
            Self::Users => "user",
            Self::NewUsers => "new-user",
            Self::Fingerprints => "fingerprint",
            Self::NewFingerprints => "new-fingerprint",
            Self::Faces => "face",
            Self::FingerVeins => "finger-vein",
            Self::Unified => "unified",
            Self::UnifiedFingerprints => "unified-fingerprint",
            Self::NewUnifiedFingerprints => "new-unified-fingerprint",
            Self::UnifiedFaces => "unified-face",
            Self::UserPics => "user-pic",
            Self::BioPhotos => "bio-photo",
            Self::IdCards => "id-card",
            Self::Errors => "error",
            Self::Photos => "photo",
            Self::IdPhotos => "id-photo",
        }
    }

    /// The stream with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.code() == code)
    }

    /// What the stream is called in messages and in `punchd status`. Streams that differ only in
    /// their flag of `TransFlag` share a name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Punches => "punches",
            Self::IdPunches => "card punches",
            Self::IdVerifications => "card verifications",
            Self::Operations => "operations",
            Self::Users | Self::NewUsers => "users",
            Self::Fingerprints | Self::NewFingerprints => "fingerprints",
            Self::Faces => "faces",
            Self::FingerVeins => "finger veins",
            Self::Unified
            | Self::UnifiedFingerprints
            | Self::NewUnifiedFingerprints
            | Self::UnifiedFaces => "templates",
            Self::UserPics => "user pictures",
            Self::BioPhotos => "comparison photos",
            Self::IdCards => "identity cards",
            Self::Errors => "errors",
            Self::Photos => "photos",
            Self::IdPhotos => "card photos",
        }
    }

    /// The first stream with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }

    /// The table in which the stream is uploaded.
    pub fn table(self) -> Table {
        match self {
            Self::Punches | Self::IdPunches | Self::IdVerifications => Table::Attlog,
            Self::Operations
            | Self::Users
            | Self::NewUsers
            | Self::Fingerprints
            | Self::NewFingerprints
            | Self::Faces
            | Self::FingerVeins
            | Self::UserPics
            | Self::BioPhotos => Table::Operlog,
            Self::Unified
            | Self::UnifiedFingerprints
            | Self::NewUnifiedFingerprints
            | Self::UnifiedFaces => Table::Biodata,
            Self::IdCards => Table::Idcard,
            Self::Errors => Table::Errorlog,
            Self::Photos | Self::IdPhotos => Table::Attphoto,
        }
    }

    /// The stream by which rows of this one are resent: the server asks for a table as a whole, so
    /// streams that differ only in their flag are resent together.
    pub fn resent_as(self) -> Self {
        match self {
            Self::NewUsers => Self::Users,
            Self::NewFingerprints => Self::Fingerprints,
            Self::UnifiedFingerprints | Self::NewUnifiedFingerprints | Self::UnifiedFaces => {
                Self::Unified
            }
            other => other,
        }
    }

    /// The kinds of `TransFlag` for this stream: it is uploaded without being asked for if one of
    /// them is on. A stream without a kind is uploaded unless `TransFlag` has zeros only.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Punches | Self::IdPunches | Self::IdVerifications => &[Kind::AttLog],
            Self::Operations => &[Kind::OpLog],
            Self::Users => &[Kind::ChgUser],
            Self::NewUsers => &[Kind::EnrollUser],
            Self::Fingerprints => &[Kind::ChgFp],
            Self::NewFingerprints => &[Kind::EnrollFp],
            Self::UnifiedFingerprints => &[Kind::ChgFp, Kind::BioData],
            Self::NewUnifiedFingerprints => &[Kind::EnrollFp, Kind::BioData],
            Self::Faces => &[Kind::Face],
            Self::UnifiedFaces => &[Kind::Face, Kind::BioPhoto, Kind::BioData],
            Self::UserPics => &[Kind::UserPic],
            Self::BioPhotos => &[Kind::BioPhoto],
            Self::Photos | Self::IdPhotos => &[Kind::AttPhoto],
            Self::FingerVeins | Self::Unified | Self::IdCards | Self::Errors => &[],
        }
    }

    /// The first version of the protocol that has such rows (App. 6). To earlier versions a punch
    /// with an identity card goes as a plain punch.
    pub fn since(self) -> Version {
        match self {
            Self::IdCards => Version(2, 3, 0),
            Self::IdVerifications | Self::IdPhotos => Version(2, 4, 0),
            Self::Errors => Version(2, 4, 1),
            _ => Version::OLDEST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_that_stores_hold() {
        let codes = Stream::ALL.map(Stream::code);
        assert_eq!(
            codes.join(" "),
            "punch id-punch id-verification operation user new-user fingerprint new-fingerprint \
             face finger-vein unified unified-fingerprint new-unified-fingerprint unified-face \
             user-pic bio-photo id-card error photo id-photo"
        );
        for stream in Stream::ALL {
            assert_eq!(Stream::from_code(stream.code()), Some(stream));
        }
        assert_eq!(Stream::from_code("card punches"), None);
    }
}
