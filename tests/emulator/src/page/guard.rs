//! What keeps other web sites from the page: they run in the same browser, which reaches it.
//!
//! - A site whose name leads to this address (DNS rebinding) names itself in `Host`: only addresses
//!   and `localhost` are served.
//! - A site that sends a form here (CSRF) names itself in `Origin`: what changes something needs the
//!   page's own.
//! - The browser runs and loads nothing but what comes from here, and shows the page in no frame.

use crate::answer::Answer;
use crate::http::Head;
use crate::service::is_here;

/// Why a request is refused, if it is.
pub(crate) fn check(head: &Head) -> Result<(), String> {
    let host = only(head, "host").ok_or("the request needs one Host field")?;
    if !is_here(host) {
        return Err(format!(
            "Host is {host:?}: the page answers only under an IP address or localhost"
        ));
    }
    let own = format!("http://{host}");
    match only(head, "origin") {
        _ if head.method == "GET" => Ok(()),
        Some(origin) if origin.eq_ignore_ascii_case(&own) => Ok(()),
        _ => Err(format!(
            "{} needs the field Origin: {own}; programs use the admin interface",
            head.method
        )),
    }
}

/// The value of a field that stands there once.
fn only<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    let mut values = head.fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
    values.next().filter(|_| values.next().is_none()).map(|value| value.trim())
}

/// Adds the fields by which a browser keeps to what comes from here.
pub(crate) fn protect(answer: Answer) -> Answer {
    answer
        .with(
            "Content-Security-Policy",
            "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
        )
        .with("X-Content-Type-Options", "nosniff")
        .with("Cross-Origin-Resource-Policy", "same-origin")
}
