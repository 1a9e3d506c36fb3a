//! The page for people: one document, one script and one style sheet, and what they ask for.
//!
//! | request | answer |
//! |---|---|
//! | `GET /`, `/page.js`, `/page.css`, `/icon.svg` | the page |
//! | `GET /view?revision=…&punches=…` | what there is to see ([`view`]), as soon as it differs from that revision |
//! | `GET /photos/punches/<n>`, `/photos/people/<n>` | a picture, if its bytes are one |
//! | all else | as the admin interface answers it |
//!
//! A viewer costs one connection that waits, and no memory: each answer is made from the state, and
//! its length has a limit. [`guard`] keeps other web sites out.

mod guard;
mod picture;
mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::admin;
use crate::answer::Answer;
use crate::connection::Shared;
use crate::http::Request;
use crate::received::Received;
use crate::service::{Service, respond};

/// A viewer to which nothing new is to be shown asks again after this.
const HOLD: Duration = Duration::from_secs(20);

const HTML: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");
const ICON: &str = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><path d='M8 1a7 7 0 1 0 .1 0zM8 4v4l3 2' \
                    fill='none' stroke='#2a6' stroke-width='2'/></svg>";

pub(crate) fn listen(shared: &Arc<Shared>, address: SocketAddr) -> io::Result<Service> {
    Service::start(shared, address, "page", |shared, inbound| {
        respond(shared, inbound, guard::check, answer).map(guard::protect)
    })
}

fn answer(shared: &Shared, request: &Request) -> Answer {
    let path = request.path.as_str();
    match (request.head.method.as_str(), path) {
        ("GET", "/") => text(HTML, "text/html"),
        ("GET", "/page.js") => text(SCRIPT, "text/javascript"),
        ("GET", "/page.css") => text(STYLE, "text/css"),
        ("GET", "/icon.svg") => text(ICON, "image/svg+xml"),
        ("GET", "/view") => view(shared, request),
        ("GET", _) if path.starts_with("/photos/") => photo(&shared.lock().received, path),
        _ => admin::answer(shared, request),
    }
}

fn text(text: &str, media_type: &str) -> Answer {
    Answer::ok(text).with("Content-Type", format!("{media_type}; charset=utf-8"))
}

/// Waits until there is something new for this viewer.
fn view(shared: &Shared, request: &Request) -> Answer {
    let number = |name: &str| request.parameter(name).and_then(|value| value.parse::<u64>().ok());
    let seen = number("revision");
    let state = shared.wait(Some(HOLD), |state| Some(state.revision) != seen);
    let view = view::view(&state, |list| number(list).map(|start| start as usize));
    drop(state);
    Answer::ok(view.to_string()).with("Content-Type", "application/json")
}

fn photo(received: &Received, path: &str) -> Answer {
    let place = path.rsplit_once('/').and_then(|(list, n)| Some((list, n.parse::<usize>().ok()?)));
    let data = match place {
        Some(("/photos/punches", n)) => received.att_photos().get(n).map(|row| &row.record.data),
        Some(("/photos/people", n)) => received.photos().get(n).map(|row| &row.record.data),
        _ => None,
    };
    match data.and_then(|data| Some((data, picture::media_type(data)?))) {
        Some((data, media_type)) => Answer::ok(data.clone()).with("Content-Type", media_type),
        None => Answer::of(404, "no picture\n"),
    }
}
