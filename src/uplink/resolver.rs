//! Name look-up that does not block. libc cannot do that, so it runs on one helper thread, and
//! the reactor waits for it like for a socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::link_error::{LinkError, Phase};
use super::waits::wait_for;

/// How long a look-up may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Most addresses of a name that are tried.
pub const MOST_ADDRESSES: usize = 8;

/// Looks names up on a helper thread, which is started for the first name that is no address.
#[derive(Default)]
pub(super) struct ThreadedResolver {
    helper: Option<Helper>,
}

impl ThreadedResolver {
    /// The addresses of a host, as it stands in a URL, at the latest by `end`.
    pub(super) fn resolve(
        &mut self,
        host: &str,
        port: u16,
        end: Option<Instant>,
    ) -> Result<Vec<SocketAddr>, LinkError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut found = match bare.parse() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => self.look_up(bare, port, end)?,
        };
        found.truncate(MOST_ADDRESSES);
        if found.is_empty() { Err(LinkError::NotFound) } else { Ok(found) }
    }

    fn look_up(
        &mut self,
        host: &str,
        port: u16,
        end: Option<Instant>,
    ) -> Result<Vec<SocketAddr>, LinkError> {
        let helper = match &mut self.helper {
            Some(helper) => helper,
            none => none.insert(Helper::start()?),
        };
        let deadline = Instant::now() + TIMEOUT;
        helper.ask(host, port, end.map_or(deadline, |end| end.min(deadline)))
    }
}

/// A name and a port.
type Question = (String, u16);

/// The helper thread. It ends when this is dropped.
struct Helper {
    questions: Sender<Question>,
    answers: Receiver<(Question, std::io::Result<Vec<SocketAddr>>)>,
    /// Readable when there is an answer.
    wake_up: UnixStream,
    /// The last question, until it is answered.
    open: Option<Question>,
}

impl Helper {
    fn start() -> std::io::Result<Self> {
        let (questions, asked) = channel::<Question>();
        let (answer, answers) = channel();
        let (wake_up, mut writer) = UnixStream::pair()?;
        wake_up.set_nonblocking(true)?;
        std::thread::Builder::new().name("look-up".into()).stack_size(256 << 10).spawn(
            move || {
                for question in asked {
                    let (host, port) = &question;
                    let found = (host.as_str(), *port).to_socket_addrs().map(Iterator::collect);
                    if answer.send((question, found)).is_err() || writer.write_all(&[0]).is_err() {
                        break;
                    }
                }
            },
        )?;
        Ok(Self { questions, answers, wake_up, open: None })
    }

    /// Asks, and waits in the reactor. A question that is still open is not asked again: an
    /// answer that comes too late for this exchange is there for the next.
    fn ask(
        &mut self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, LinkError> {
        let question = (host.to_owned(), port);
        if self.open.as_ref() != Some(&question) {
            self.questions.send(question.clone()).map_err(|_| LinkError::NotFound)?;
            self.open = Some(question.clone());
        }
        loop {
            wait_for(self.wake_up.as_fd(), PollFlags::IN, deadline, Phase::Resolve)?;
            // The end of the stream: the thread has ended.
            let is_gone = matches!((&self.wake_up).read(&mut [0; 16]), Ok(0));
            while let Ok((answered, found)) = self.answers.try_recv() {
                if answered == question {
                    self.open = None;
                    return found.map_err(|error| {
                        log::debug!("looking up {host}: {error}");
                        LinkError::NotFound
                    });
                }
            }
            if is_gone {
                return Err(LinkError::NotFound);
            }
        }
    }
}
