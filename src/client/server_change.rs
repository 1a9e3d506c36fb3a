//! Another server: what the one before asked for is forgotten. Its ids mean nothing to this one.

use super::context::Context;
use crate::store::StoreError;
use crate::store::options::SERVER;

/// Most ids that the log names.
const MOST_NAMED: usize = 20;

/// Forgets what a server on another host asked for.
pub(super) fn forget_other(context: &Context) -> Result<(), StoreError> {
    let (store, log) = (&context.store, context.store.command_log());
    let (mut askings, host) = (log.askings()?, host_of(&context.settings.server));
    if askings.host == host {
        return Ok(());
    }
    // A store of an earlier version knows the URL only.
    let before = match askings.host.is_empty() {
        true => store.options().get(SERVER)?.map_or_else(|| host.clone(), |url| host_of(&url)),
        false => std::mem::take(&mut askings.host),
    };
    let forgotten = store.atomically(|| {
        let forgotten = if before == host { None } else { Some(log.forget_server(MOST_NAMED)?) };
        if forgotten.is_some() {
            askings.ids = Default::default();
        }
        askings.host = host.clone();
        log.set_askings(&askings)?;
        Ok::<_, StoreError>(forgotten)
    })?;
    let Some((ids, count)) = forgotten else { return Ok(()) };
    log::info!("the server is {host} now: what {before} asked for is forgotten");
    if count > 0 {
        log::warn!(
            "{count} answers that {before} never took are dropped: those to its commands {}{}",
            ids.join(", "),
            if count > ids.len() as u64 { " and others" } else { "" }
        );
    }
    Ok(())
}

/// The host in a URL, without user, port, path and query.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or(host),
    };
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn only_the_host_makes_a_server_another() {
        for url in [
            "http://Time.example",
            "https://time.example:8443",
            "http://time.example/iclock",
            "http://user:p@ss@time.example:81/x?token=http://other",
        ] {
            assert_eq!(host_of(url), "time.example", "{url}");
        }
        assert_eq!(host_of("http://[fd00::1]:81/"), "fd00::1");
        assert_eq!(host_of("http://192.0.2.7:81"), "192.0.2.7");
    }
}
