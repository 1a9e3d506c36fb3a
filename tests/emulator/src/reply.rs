//! Replies to commands (chapter 13): one line each with `&`, or one reply in lines with its content
//! at the end.

use crate::answer::Answer;
use crate::command::Command;
use crate::deviation::{Flaw, Flaws, Kind};
use crate::http::Request;
use crate::received::Reply;
use crate::state::State;

const BATCH: usize = 100;

/// A reply as it stands in a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The keys and values before the content, in their order.
    pub fields: Vec<(String, String)>,
    /// What follows `Content=`, or the lines of an INFO reply.
    pub content: Option<Vec<u8>>,
    /// Its bytes.
    pub raw: Vec<u8>,
}

impl Parsed {
    /// The value of a key.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn is_empty(&self, name: &str) -> bool {
        self.field(name).is_none_or(str::is_empty)
    }

    /// Whether it is one of those in lines, and not joined with `&`.
    fn is_in_lines(&self) -> bool {
        self.raw.split(|b| *b == b'\n').next().is_none_or(|first| !first.contains(&b'&'))
    }

    fn keys(&self) -> Vec<&str> {
        self.fields.iter().map(|(key, _)| key.as_str()).collect()
    }
}

/// Takes a body apart into its replies. The flaws are those of the body as such.
pub fn parse(body: &[u8]) -> (Vec<Parsed>, Vec<Flaw>) {
    let first = body.split(|b| *b == b'\n').next().unwrap_or(&[]);
    let content = first.windows(9).position(|part| part == b"&Content=");
    if let Some(at) = content {
        let mut reply = parse_lines(&body[..at]).0.pop().unwrap_or_default();
        (reply.content, reply.raw) = (Some(body[at + 9..].to_vec()), body.to_vec());
        return (vec![reply], Vec::new());
    }
    if first.contains(&b'&') {
        let (replies, flaws) = parse_lines(body);
        (replies, flaws.0)
    } else {
        (vec![parse_block(body)], Vec::new())
    }
}

/// `ID=1&Return=0&CMD=DATA` LF …; what follows a line of INFO belongs to it.
fn parse_lines(body: &[u8]) -> (Vec<Parsed>, Flaws) {
    let mut replies: Vec<Parsed> = Vec::new();
    let mut flaws = Flaws::default();
    for line in body.strip_suffix(b"\n").unwrap_or(body).split(|b| *b == b'\n') {
        let text = String::from_utf8_lossy(line);
        if text.starts_with("ID=") && text.contains('&') {
            let fields = text
                .split('&')
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(key, value)| (key.to_owned(), value.to_owned()));
            replies.push(Parsed { fields: fields.collect(), content: None, raw: line.to_vec() });
            continue;
        }
        match replies.last_mut().filter(|reply| reply.field("CMD") == Some("INFO")) {
            Some(info) => {
                info.raw = [&info.raw, line].join(&b'\n');
                info.content.get_or_insert_default().extend([line, b"\n"].concat());
            }
            None => flaws.add(Kind::ReplyForm, format!("the line {text:?} is no reply")),
        }
    }
    if replies.len() > BATCH {
        flaws.add(
            Kind::ReplyCount,
            format!("there are {} replies in one request, more than {BATCH}", replies.len()),
        );
    }
    if replies.len() > 1 && replies.iter().any(|reply| reply.field("CMD") == Some("INFO")) {
        flaws.add(Kind::ReplyAlone, "the reply to INFO shares its request with others");
    }
    (replies, flaws)
}

/// `ID=1` LF `Return=0` LF … LF `Content=…`, to the end of the body.
fn parse_block(body: &[u8]) -> Parsed {
    let mut reply = Parsed { raw: body.to_vec(), ..Parsed::default() };
    let mut rest = body;
    while !rest.is_empty() {
        if let Some(content) = rest.strip_prefix(b"Content=") {
            reply.content = Some(content.to_vec());
            break;
        }
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let line = String::from_utf8_lossy(&rest[..end]);
        let (key, value) = line.split_once('=').unwrap_or((&line, ""));
        reply.fields.push((key.to_owned(), value.to_owned()));
        rest = &rest[(end + 1).min(rest.len())..];
    }
    reply
}

/// Whether the document writes the reply in lines.
fn has_lines(cmd: &str) -> bool {
    matches!(cmd, "GetFile" | "Shell" | "PutFile")
}

/// How the reply differs from the document, if it is a dialect of the field.
fn dialect(reply: &Parsed) -> Option<Flaw> {
    let cmd = reply.field("CMD").unwrap_or("");
    let is_dialect = has_lines(cmd) && !reply.is_in_lines();
    let text = || format!("the reply to {cmd} is joined with &");
    is_dialect.then(|| Flaw::new(Kind::ReplyDialect, text()))
}

/// What is wrong with a reply by itself.
pub fn check(reply: &Parsed, sn: &str) -> Result<(), Flaw> {
    let wrong = |text: String| Err(Flaw::new(Kind::ReplyForm, text));
    let keys = reply.keys();
    if let Some(key) = ["ID", "Return", "CMD"].iter().find(|key| reply.is_empty(key)) {
        return wrong(format!("the reply has no {key}: {keys:?}"));
    }
    let field = |name: &str| reply.field(name).unwrap_or("");
    let (cmd, ret) = (field("CMD"), field("Return"));
    if ret.parse::<i64>().is_err() {
        return wrong(format!("Return is {ret:?}, not a number"));
    }
    let in_lines = has_lines(cmd);
    if !in_lines && reply.is_in_lines() {
        return wrong(format!("the reply to {cmd} is in lines"));
    }
    let orders = orders(cmd);
    if !orders.contains(&keys.as_slice()) {
        let alone = in_lines && keys.iter().filter(|key| **key == "ID").count() > 1;
        let kind = if alone { Kind::ReplyAlone } else { Kind::ReplyOrder };
        let text = format!("the keys of the reply to {cmd} are {keys:?}, not {:?}", orders[0]);
        return Err(Flaw::new(kind, text));
    }
    if keys.contains(&"SN") && field("SN") != sn {
        return wrong(format!("SN is {:?} in the reply, {sn:?} in the query", field("SN")));
    }
    check_content(reply, cmd)
}

/// The keys a reply may have, in order; `Content` aside.
fn orders(cmd: &str) -> &'static [&'static [&'static str]] {
    match cmd {
        "GetFile" => &[&["ID", "SN", "FILENAME", "CMD", "Return"]],
        "Shell" => &[&["ID", "SN", "Return", "CMD", "FILENAME"]],
        "VERIFY SUM" => &[
            &["ID", "Return", "CMD", "StartTime", "EndTime", "AttlogSum"],
            &["ID", "Return", "CMD", "StartTime", "EndTime", "AttlogSum", "AttlogCount"],
            &["ID", "Return", "CMD"],
        ],
        _ => &[&["ID", "Return", "CMD"]],
    }
}

fn check_content(reply: &Parsed, cmd: &str) -> Result<(), Flaw> {
    let ret: i64 = reply.field("Return").and_then(|code| code.parse().ok()).unwrap_or(0);
    let wrong = |text: String| Err(Flaw::new(Kind::ReplyForm, text));
    match (cmd, reply.content.as_deref()) {
        ("GetFile", Some(content)) if ret >= 0 && ret as usize != content.len() => Err(Flaw::new(
            Kind::Size,
            format!("Return is {ret}, but the file has {} bytes", content.len()),
        )),
        ("GetFile", None) if ret >= 0 => wrong("the reply to GetFile has no Content".into()),
        ("GetFile", Some(content)) if ret < 0 && !content.is_empty() => {
            wrong("a GetFile that failed has Content".into())
        }
        ("Shell", None) if ret == 0 => wrong("the reply to Shell has no Content".into()),
        ("Shell", _) if reply.field("FILENAME") != Some("shellout.txt") => {
            wrong("FILENAME is not shellout.txt".into())
        }
        ("INFO", None) if ret == 0 => wrong("the reply to INFO has no lines key=value".into()),
        ("INFO", Some(lines)) => {
            match String::from_utf8_lossy(lines).lines().find(|line| !line.contains('=')) {
                Some(line) => wrong(format!("the line {line:?} of INFO is not key=value")),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

impl State {
    /// Takes the replies of a request.
    pub(crate) fn replies(&mut self, request: &Request, sn: &str, flaws: &mut Flaws) -> Answer {
        if request.body.is_empty() {
            flaws.add(Kind::EmptyBody, "there is no reply in the request");
            return Answer::ok("OK");
        }
        let (replies, of_body) = parse(&request.body);
        flaws.note(of_body);
        for reply in replies {
            let place = format!("the reply to {}", reply.field("ID").unwrap_or("?"));
            flaws.note(dialect(&reply));
            flaws.note(check(&reply, sn).err().map(|flaw| flaw.at(place)));
            self.take_reply(reply, flaws);
        }
        Answer::ok("OK")
    }

    fn take_reply(&mut self, reply: Parsed, flaws: &mut Flaws) {
        let Some(id) = reply.field("ID").map(str::to_owned) else { return };
        let cmd = reply.field("CMD").unwrap_or("").to_owned();
        let ret = reply.field("Return").and_then(|code| code.parse().ok()).unwrap_or(i64::MIN);
        self.note(&format!("command {id} ({cmd}) was answered with {ret}"));
        let Some(command) = self.commands.handed_out(&id) else {
            flaws.add(Kind::UnknownCommand, format!("no command {id} was ever handed out"));
            return;
        };
        flaws.note(fits(&cmd, command).err());
        command.replies += 1;
        let again = command.replies > 1;
        let mut replies = self.received.replies.iter_mut().rev();
        let before = if again { replies.find(|before| before.id == id) } else { None };
        match before {
            Some(before) => {
                before.times += 1;
                if before.body != reply.raw {
                    let text = format!(
                        "command {id} was answered before with {:?}",
                        String::from_utf8_lossy(&before.body)
                    );
                    flaws.add(Kind::ReplyDiffers, text);
                    (before.ret, before.content, before.body) = (ret, reply.content, reply.raw);
                }
            }
            None => self.received.replies.push(Reply {
                id,
                ret,
                cmd,
                content: reply.content,
                body: reply.raw,
                times: 1,
            }),
        }
    }
}

fn fits(cmd: &str, command: &Command) -> Result<(), Flaw> {
    let Command { id, text, .. } = command;
    let expected = match command.reply_name() {
        Some(name) if name == cmd => return Ok(()),
        None if text.starts_with(cmd) => return Ok(()),
        name => name.unwrap_or("the command's own word"),
    };
    let text = format!("command {id} was {text:?}, but CMD is {cmd:?}, not {expected}");
    Err(Flaw::new(Kind::ReplyName, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(body: &str) -> Result<(), Flaw> {
        let (replies, flaws) = parse(body.as_bytes());
        match flaws.into_iter().next() {
            Some(flaw) => Err(flaw),
            None => replies.iter().try_for_each(|reply| check(reply, "TEST0001")),
        }
    }

    #[test]
    fn the_documents_forms() {
        for body in [
            "ID=info8487&Return=0&CMD=DATA\nID=info8488&Return=0&CMD=DATA\nID=fp7464&Return=0&CMD=DATA",
            "ID=1&Return=0&CMD=CHECK\n",
            "ID=1&Return=0&CMD=VERIFY SUM&StartTime=2015-07-29 00:00:00&EndTime=2015-07-30 00:00:00&AttlogSum=12",
            "ID=1&Return=0&CMD=INFO\nUserCount=1\n~Platform=X\n",
            "ID=1\nSN=TEST0001\nFILENAME=/etc/hosts\nCMD=GetFile\nReturn=4\nContent=a\n\0b",
            "ID=1\nSN=TEST0001\nFILENAME=/none\nCMD=GetFile\nReturn=-2",
            "ID=1\nSN=TEST0001\nReturn=0\nCMD=Shell\nFILENAME=shellout.txt\nContent=x\nID=2&y\n",
            "ID=1\nReturn=2312\nCMD=PutFile",
        ] {
            assert_eq!(first(body), Ok(()), "{body}");
        }
        assert_eq!(
            parse(b"ID=1&Return=0&CMD=INFO\nUserCount=1\n").0[0].content.as_deref(),
            Some(b"UserCount=1\n".as_slice())
        );
    }

    #[test]
    fn one_line_is_a_dialect_of_the_field() {
        for (body, content) in [
            ("ID=1&Return=2312&CMD=PutFile", None),
            ("ID=1&SN=TEST0001&FILENAME=/none&CMD=GetFile&Return=-2", None),
            (
                "ID=1&SN=TEST0001&FILENAME=/a&CMD=GetFile&Return=7&Content=a&b\nID=",
                Some("a&b\nID="),
            ),
            (
                "ID=1&SN=TEST0001&Return=0&CMD=Shell&FILENAME=shellout.txt&Content=x\nID=2&y\n",
                Some("x\nID=2&y\n"),
            ),
        ] {
            assert_eq!(first(body), Ok(()), "{body}");
            let reply = parse(body.as_bytes()).0.remove(0);
            assert_eq!(dialect(&reply).map(|flaw| flaw.kind), Some(Kind::ReplyDialect), "{body}");
            assert_eq!(reply.content.as_deref(), content.map(str::as_bytes), "{body}");
        }
    }

    #[test]
    fn what_is_wrong() {
        let many = vec!["ID=1&Return=0&CMD=DATA"; 101].join("\n");
        for (body, kind) in [
            (many.as_str(), Kind::ReplyCount),
            ("ID=1&Return=0", Kind::ReplyForm),
            ("ID=1&CMD=DATA", Kind::ReplyForm),
            ("ID=&Return=0&CMD=DATA", Kind::ReplyForm),
            ("ID=1&Return=x&CMD=DATA", Kind::ReplyForm),
            ("ID=1&Return=0&CMD=DATA\nUserCount=1", Kind::ReplyForm),
            ("ID=1&CMD=DATA&Return=0", Kind::ReplyOrder),
            ("ID=1&Return=0&CMD=DATA&Extra=1", Kind::ReplyOrder),
            ("ID=12\nReturn=-30\nCMD=DATA UPDATE BIODATA\n", Kind::ReplyForm),
            ("ID=1&SN=TEST0001&Return=0&CMD=Shell&FILENAME=shellout.txt", Kind::ReplyForm),
            ("ID=1&Return=0&CMD=Shell&Content=x\ny", Kind::ReplyOrder),
            ("ID=1&SN=TEST0001&FILENAME=x&CMD=GetFile&Return=2&Content=abc", Kind::Size),
            ("ID=1&Return=0&CMD=DATA\nID=2&Return=0&CMD=INFO\nUserCount=1", Kind::ReplyAlone),
            ("ID=1&Return=0&CMD=INFO", Kind::ReplyForm),
            ("ID=1\nReturn=1\nCMD=PutFile\nID=2\nReturn=1\nCMD=PutFile", Kind::ReplyAlone),
            ("ID=1\nReturn=0\nCMD=Shell\nContent=x", Kind::ReplyOrder),
            ("ID=1\nSN=TEST0001\nReturn=0\nCMD=Shell\nFILENAME=x\nContent=x", Kind::ReplyForm),
            ("ID=1\nSN=TEST0002\nFILENAME=x\nCMD=GetFile\nReturn=1\nContent=x", Kind::ReplyForm),
            ("ID=1\nSN=TEST0001\nFILENAME=x\nCMD=GetFile\nReturn=2\nContent=x", Kind::Size),
            ("ID=1\nSN=TEST0001\nFILENAME=x\nCMD=GetFile\nReturn=-2\nContent=x", Kind::ReplyForm),
        ] {
            assert_eq!(first(body).map_err(|flaw| flaw.kind), Err(kind), "{body}");
        }
    }
}
