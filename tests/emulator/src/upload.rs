//! Uploads (chapters 9 and 11): the rows of each table, and the count that is answered.

use std::borrow::Cow;
use std::io::{self, Read};

use rc4::{KeyInit, Rc4, StreamCipher};

use crate::answer::Answer;
use crate::deviation::{Flaw, Flaws, Kind};
use crate::http::Request;
use crate::record::{self, Operlog, attlog, attphoto, errorlog, idcard, options, template};
use crate::session::{Terms, Version};
use crate::stamp;
use crate::state::State;
use crate::text::Charset;

/// An upload, and what it is judged by.
struct Upload<'a> {
    request: &'a Request,
    sn: &'a str,
    table: &'a str,
    terms: Terms,
}

/// How many rows there were, and how many of them were new.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    rows: usize,
    new: usize,
}

impl State {
    /// Takes an upload.
    pub(crate) fn upload(
        &mut self,
        request: &Request,
        sn: &str,
        table: &str,
        flaws: &mut Flaws,
    ) -> Answer {
        let terms = self.session(sn).terms.clone();
        let opened = self.opened(request, table, &terms);
        let request = opened.as_ref().unwrap_or(request);
        let upload = Upload { request, sn, table, terms };
        upload.check_size(flaws);
        let tally = match table {
            "ATTLOG" | "OPERLOG" | "BIODATA" | "IDCARD" | "ERRORLOG" => {
                self.take_rows(&upload, flaws)
            }
            "ATTPHOTO" => self.take_att_photo(&upload, flaws),
            "options" => self.take_options(&upload, flaws),
            _ => {
                flaws.add(Kind::UnknownPath, format!("the protocol has no table {table:?}"));
                return Answer::ok("ERROR: no such table");
            }
        };
        self.take_stamp(&upload, tally, flaws);
        let Tally { rows, new } = tally;
        self.note(&format!("{sn} sent {table}: {rows} in all, {new} of them new"));
        self.acknowledge(&upload, tally)
    }

    /// The request with its attendance rows decrypted, if they come in RC4 (chapter 6). What was
    /// not encrypted, or with another key, becomes rows that are none.
    fn opened(&mut self, request: &Request, table: &str, terms: &Terms) -> Option<Request> {
        let key = self.settings.attlog_key.as_ref()?;
        if table != "ATTLOG" || !terms.attlog_sealed {
            return None;
        }
        let mut cipher = Rc4::new_from_slice(key.as_bytes()).ok()?;
        self.received.sealed = Some(request.body.clone());
        let mut opened = request.clone();
        cipher.apply_keystream(&mut opened.body);
        Some(opened)
    }

    fn take_rows(&mut self, upload: &Upload, flaws: &mut Flaws) -> Tally {
        let Some(body) = upload.unpacked(flaws) else { return Tally::default() };
        upload.check_version(flaws);
        let mut tally = Tally::default();
        let is_picture = |row: &[u8]| row.starts_with(b"USERPIC ");
        let has_word = upload.table == "OPERLOG" && body.windows(7).any(|part| part == b"USERPIC");
        if has_word && lines(&body).count() > 1 && !lines(&body).all(is_picture) {
            flaws.add(Kind::SharedBody, "USERPIC stands in a body with other rows");
        }
        for row in rows(&body, upload.request, flaws) {
            tally.rows += 1;
            if has_word && self.settings.manners.userpic_alone && !is_picture(row) {
                continue;
            }
            let mut of_row = Flaws::default();
            match upload.decode(row).and_then(|text| self.take_row(upload, &text, row, &mut of_row))
            {
                Ok(new) => tally.new += usize::from(new),
                Err(flaw) => of_row.note([flaw]),
            }
            let place = format!("row {} of {}", tally.rows, upload.table);
            flaws.note(of_row.0.into_iter().map(|flaw| flaw.at(&place)));
        }
        tally
    }

    /// Keeps one row; says whether it is new.
    fn take_row(
        &mut self,
        upload: &Upload,
        text: &str,
        raw: &[u8],
        flaws: &mut Flaws,
    ) -> Result<bool, Flaw> {
        let (sn, received) = (upload.sn, &mut self.received);
        Ok(match upload.table {
            "ATTLOG" => {
                let punch = attlog::parse(text)?;
                flaws.note(punch.dialect());
                if punch.card.is_some() {
                    upload.needs("2.4.0", "the attendance of an identity card", flaws);
                }
                let words = format!("{sn} sent a punch of {} at {}", punch.pin, punch.time);
                let (new, differs) = received.take_punch(punch, raw, sn);
                flaws.note(differs);
                self.note(&format!("{words}{}", if new { "" } else { ", again" }));
                new
            }
            "OPERLOG" => match record::operlog(text, upload.terms.charset)? {
                Operlog::Oplog(oplog) => received.oplog.take(oplog, raw, sn),
                Operlog::User(user) => received.take_user(user, raw, sn),
                Operlog::Template(template) => received.templates.take(template, raw, sn),
                Operlog::Photo(photo) => received.photos.take(photo, raw, sn),
            },
            "BIODATA" => received.templates.take(template::biodata(text)?, raw, sn),
            "IDCARD" => received.id_cards.take(idcard::parse(text)?, raw, sn),
            _ => received.errors.take(errorlog::parse(text)?, raw, sn),
        })
    }

    fn take_att_photo(&mut self, upload: &Upload, flaws: &mut Flaws) -> Tally {
        let body = &upload.request.body;
        let photo = match attphoto::parse(body, upload.terms.photo_in_base64) {
            Ok(photo) => photo,
            Err(flaw) => {
                flaws.note([flaw]);
                return Tally { rows: 1, new: 0 };
            }
        };
        if photo.card.is_some() {
            upload.needs("2.4.0", "the photo of an identity card's attendance", flaws);
        }
        if photo.sn != upload.sn {
            let text = format!("SN is {:?} in the body, {:?} in the query", photo.sn, upload.sn);
            flaws.add(Kind::PhotoForm, text);
        }
        let new = self.received.att_photos.take(photo, body, upload.sn);
        Tally { rows: 1, new: usize::from(new) }
    }

    fn take_options(&mut self, upload: &Upload, flaws: &mut Flaws) -> Tally {
        let body = &upload.request.body;
        let line = upload.decode(body.strip_suffix(b"\n").unwrap_or(body));
        match line.and_then(|line| options::parse(&line)) {
            Ok(pairs) => {
                self.received.options_times += 1;
                self.received.options.extend(pairs);
            }
            Err(flaw) => flaws.note([flaw]),
        }
        Tally { rows: 1, new: 1 }
    }

    fn take_stamp(&mut self, upload: &Upload, tally: Tally, flaws: &mut Flaws) {
        let (stamp, flaw) = stamp::of(upload.request);
        flaws.note(flaw);
        let (asked_for, flaw) = self.take_pack(upload.request, upload.table, tally.rows);
        flaws.note(flaw);
        if asked_for || upload.table == "options" {
            return;
        }
        let session = self.session(upload.sn);
        let again = session.again.contains(upload.table);
        let known = session.stamps.entry(upload.table.to_owned()).or_default();
        let last = lines(&upload.request.body).last().unwrap_or(&[]);
        flaws.note(stamp.and_then(|stamp| known.take(stamp, tally.new, last, again)));
    }

    fn acknowledge(&self, upload: &Upload, tally: Tally) -> Answer {
        let only_biophotos = || {
            tally.rows > 0 && lines(&upload.request.body).all(|row| row.starts_with(b"BIOPHOTO "))
        };
        match upload.table {
            _ if upload.request.truncated => Answer::ok("OK"),
            "ATTPHOTO" | "options" | "ERRORLOG" => Answer::ok("OK"),
            "OPERLOG" if only_biophotos() => Answer::ok("OK"),
            _ if self.settings.manners.count_new_only => Answer::ok(format!("OK: {}", tally.new)),
            _ => Answer::ok(format!("OK:{}", tally.rows)),
        }
    }
}

impl Upload<'_> {
    fn check_size(&self, flaws: &mut Flaws) {
        let length = self.request.body.len();
        if let Some(limit) = self.terms.max_post_size.filter(|limit| length > *limit) {
            let text = format!("the body has {length} bytes, more than MaxPostSize={limit}");
            flaws.add(Kind::BodySize, text);
        }
    }

    fn check_version(&self, flaws: &mut Flaws) {
        match self.table {
            "IDCARD" => self.needs("2.3.0", "IDCARD", flaws),
            "ERRORLOG" => self.needs("2.4.1", "ERRORLOG", flaws),
            _ => {}
        }
    }

    fn needs(&self, version: &str, what: &str, flaws: &mut Flaws) {
        let agreed = &self.terms.version;
        if Version::parse(version).is_some_and(|needed| *agreed < needed) {
            let text = format!("{what} is from version {version} on, {agreed} was agreed upon");
            flaws.add(Kind::Version, text);
        }
    }

    /// The body, taken out of its pack if it is packed.
    fn unpacked(&self, flaws: &mut Flaws) -> Option<Cow<'_, [u8]>> {
        let body = self.request.body.as_slice();
        let unpacked = match self.request.parameter("ContentType") {
            None => return Some(Cow::Borrowed(body)),
            Some("tgz") if self.table == "OPERLOG" => {
                unpack(body).map_err(|error| format!("the body is no tgz: {error}"))
            }
            Some(other) => Err(format!("ContentType is {other:?} for {}", self.table)),
        };
        unpacked.map(Cow::Owned).map_err(|text| flaws.add(Kind::Archive, text)).ok()
    }

    /// The text of a row: identity cards are in UTF-8 whatever the language.
    fn decode(&self, row: &[u8]) -> Result<String, Flaw> {
        let charset = if self.table == "IDCARD" { Charset::Utf8 } else { self.terms.charset };
        charset.decode(row)
    }
}

/// The rows of a body, line ends and blank rows minded.
fn rows<'a>(body: &'a [u8], request: &Request, flaws: &mut Flaws) -> Vec<&'a [u8]> {
    if body.is_empty() && !request.truncated && request.parameter("Count") != Some("0") {
        flaws.add(Kind::EmptyBody, "there is no row in the request");
    }
    let whole = match body.iter().rposition(|b| *b == b'\n') {
        last if request.truncated => &body[..last.map_or(0, |at| at + 1)],
        _ => body,
    };
    if !whole.is_empty() && !whole.ends_with(b"\n") {
        flaws.add(Kind::RowEnd, "the last row does not end with LF");
    }
    if whole.contains(&b'\r') {
        flaws.add(Kind::RowEnd, "there is a CR in the rows");
    }
    if whole.starts_with(b"\n") || whole.windows(2).any(|two| two == b"\n\n") {
        flaws.add(Kind::BlankRow, "there is a blank row");
    }
    lines(whole).collect()
}

/// The lines of a body that are not blank, without LF and CR.
fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|b| *b == b'\n')
        .map(|row| row.strip_suffix(b"\r").unwrap_or(row))
        .filter(|row| !row.is_empty())
}

/// The rows in a packed body (§11.14): every file in it, one after the other.
fn unpack(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut rows = Vec::new();
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(body)).entries()? {
        entry?.read_to_end(&mut rows)?;
    }
    Ok(rows)
}
