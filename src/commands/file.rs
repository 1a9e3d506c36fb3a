//! `GetFile` and `PutFile` (§12.8): which place on the terminal, and which on the net, the
//! server may name, and what becomes of a file that was fetched.

use std::io;
use std::path::Path;

use ureq::http::Uri;

use super::Executor;
use crate::files::{ArchiveLimits, ConfinedPath, FileError, unpack};
use crate::policy::Policy;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::protocol::file::{Action, PutFile};

/// Most members of an archive.
const MOST_MEMBERS: u64 = 10_000;
/// How much larger an archive may become when it is unpacked.
const HIGHEST_RATIO: u64 = 200;

impl Executor<'_> {
    /// Bytes of a file that the server may have.
    pub(super) fn get_file(&self, path: &str) -> Result<u64, Refusal> {
        let (_, size) = self.open_file(path)?;
        Ok(size)
    }

    /// Opens a file that the server may have, and says how long it is.
    pub fn open_file(&self, path: &str) -> Result<(std::fs::File, u64), Refusal> {
        let place = ConfinedPath::find(&self.policy.get_dirs, path).map_err(refusal)?;
        let (file, size) = place.open().map_err(refusal)?;
        if size > self.policy.file_bytes {
            let most = self.policy.file_bytes >> 20;
            let why = format!("{path} is larger than {most} MiB ([limits] file_mib)");
            return Err(Refusal::new(ReturnCode::TOO_LONG, why));
        }
        Ok((file, size))
    }

    /// Refuses a `PutFile` that could not be kept, before anything is fetched.
    pub(super) fn check_put(&self, put: &PutFile<'_>) -> Result<(), Refusal> {
        self.locate(put.url)?;
        if put.action != Action::Keep {
            return Ok(());
        }
        match ConfinedPath::find(&self.policy.put_dirs, &self.destination(put)?) {
            // What is missing is made once the file is there.
            Ok(_) | Err(FileError::Missing(_)) => Ok(()),
            Err(error) => Err(refusal(error)),
        }
    }

    /// Where a file goes, as an absolute path.
    fn destination(&self, put: &PutFile<'_>) -> Result<String, Refusal> {
        let path = match put.path {
            // The document's first example names the archive itself: it goes where it would
            // without.
            Some(path) if put.is_archive() && ends_like_archive(path) => {
                path.rsplit_once('/').map_or("", |(directory, _)| directory)
            }
            Some(path) => path,
            None if put.is_archive() => "",
            None => return Err(Refusal::parameter("PutFile names no path for its file")),
        };
        if path.starts_with('/') {
            return Ok(path.to_owned());
        }
        let first = self.policy.put_dirs.first().and_then(|first| first.to_str());
        let first = first.ok_or_else(|| {
            let why = "no directory is listed for it ([commands] put_dirs)";
            Refusal::new(ReturnCode::UNSUPPORTED, why)
        })?;
        Ok(format!("{}/{path}", first.trim_end_matches('/')))
    }

    /// Keeps a file that was fetched: unpacks it, or saves it where the server said.
    pub fn keep(
        &self,
        put: &PutFile<'_>,
        part: &Path,
        yield_now: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<(), Refusal> {
        let destination = self.destination(put)?;
        let dirs = &self.policy.put_dirs;
        if put.is_archive() {
            let directory = format!("{}/", destination.trim_end_matches('/'));
            let place = ConfinedPath::find_or_make(dirs, &directory).map_err(refusal)?;
            unpack(part, &place, &self.archive_limits(), yield_now).map_err(refusal)?;
        } else {
            let place = ConfinedPath::find_or_make(dirs, &destination).map_err(refusal)?;
            place.put(part, yield_now).map_err(refusal)?;
        }
        Ok(())
    }

    /// What an archive may hold.
    pub(super) fn archive_limits(&self) -> ArchiveLimits {
        ArchiveLimits {
            members: MOST_MEMBERS,
            bytes: self.policy.file_bytes,
            ratio: HIGHEST_RATIO,
            free: self.policy.free_bytes,
        }
    }

    /// Where a file is fetched: a path at the server, or a whole URL that the owner allows.
    pub fn locate(&self, url: &str) -> Result<String, Refusal> {
        locate(url, self.server, self.policy)
    }
}

fn locate(url: &str, server: &str, policy: &Policy) -> Result<String, Refusal> {
    let url = escaped(url.split('#').next().unwrap_or(url));
    let is_whole = ["http://", "https://"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    if is_whole {
        return allowed(&url, server, policy);
    }
    let path = url.trim_start_matches('/');
    match path.strip_prefix("iclock/").unwrap_or(path) {
        "" => Err(Refusal::parameter("the URL is empty")),
        path => Ok(format!("/iclock/{path}")),
    }
}

fn allowed(url: &str, server: &str, policy: &Policy) -> Result<String, Refusal> {
    let wrong = |why: &str| Refusal::parameter(format!("{url:?} {why}"));
    let uri: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("holds a user name"));
    }
    let climbs = |path: &str| {
        let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%5c", "/");
        path.split('/').any(|part| part == "..")
    };
    let is_beneath = |listed: &str| {
        let Ok(listed) = listed.parse::<Uri>() else { return false };
        let directory = format!("{}/", listed.path().trim_end_matches('/'));
        origin(&listed) == origin(&uri) && uri.path().starts_with(&directory)
    };
    let is_of_server = server.parse().is_ok_and(|server: Uri| origin(&server) == origin(&uri));
    let is_listed = policy.urls.iter().any(|url| is_beneath(url)) && !climbs(uri.path());
    if is_of_server || is_listed {
        return Ok(uri.to_string());
    }
    let why = format!("{url:?} is neither at the server nor listed ([commands] urls)");
    Err(Refusal::new(ReturnCode::UNSUPPORTED, why))
}

/// Scheme, host and port, as they are compared.
fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// What cannot stand in a request line as it is.
fn escaped(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out.push_str(&format!("%{byte:02X}"));
            }
            0x21..=0x7e => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn ends_like_archive(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.ends_with(".tgz") || path.ends_with(".tar.gz")
}

/// What a command answers to a file that cannot be read or written.
pub(super) fn refusal(error: FileError) -> Refusal {
    let code = match &error {
        FileError::Missing(_) => ReturnCode::PHOTO_SIZE,
        FileError::Outside { .. } => ReturnCode::UNSUPPORTED,
        FileError::NotAFile { .. } | FileError::Archive { .. } => ReturnCode::PARAMETER,
        FileError::TooLarge(_) => ReturnCode::TOO_LONG,
        FileError::NoRoom(_) => ReturnCode::CAPACITY,
        FileError::Io { .. } | FileError::Stopped => ReturnCode::STORAGE,
    };
    Refusal::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for a URL, by a terminal whose server is `http://server:8081/push`.
    fn located(url: &str) -> Result<String, i64> {
        let policy = Policy {
            urls: vec!["https://files.example/terminals/".into(), "http://[::1]:80".into()],
            ..Policy::default()
        };
        locate(url, "http://server:8081/push", &policy).map_err(|refusal| refusal.code.0)
    }

    #[test]
    fn only_the_server_and_what_is_listed_is_asked() {
        for (url, expected) in [
            ("file/fw/main.tgz", "/iclock/file/fw/main.tgz"),
            ("/iclock/x", "/iclock/x"),
            ("/x y?a=b#c", "/iclock/x%20y?a=b"),
            ("../x", "/iclock/../x"),
            ("http://Server:8081/any/x", "http://Server:8081/any/x"),
            ("https://files.example/terminals/a%20b", "https://files.example/terminals/a%20b"),
            ("https://FILES.example:443/terminals/x", "https://FILES.example:443/terminals/x"),
            ("http://[::1]/x", "http://[::1]/x"),
        ] {
            assert_eq!(located(url).as_deref(), Ok(expected), "{url}");
        }
        for (url, code) in [
            ("", -1),
            ("/", -1),
            ("http://", -1),
            ("http://server/x", -1002),
            ("https://server:8081/x", -1002),
            ("http://server:8081@evil/x", -1),
            ("http://user@server:8081/x", -1),
            ("http://evil/server:8081/x", -1002),
            ("https://files.example/terminalsx", -1002),
            ("https://files.example/terminals/../x", -1002),
            ("https://files.example/terminals/%2E%2e/x", -1002),
            ("https://files.example/terminals/..\\x", -1002),
            ("http://files.example/terminals/x", -1002),
            ("https://files.example.evil/terminals/x", -1002),
        ] {
            assert_eq!(located(url), Err(code), "{url}");
        }
    }
}
