//! Requests that come encrypted, and their answers (`docs/encryption.md`).

#[cfg(feature = "exchange")]
pub(crate) use with_keys::Keys;
#[cfg(not(feature = "exchange"))]
pub(crate) use without::Keys;

#[cfg(feature = "exchange")]
mod with_keys {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use crate::act::{Act, SealFault};
    use crate::answer::Answer;
    use crate::deviation::{Flaws, Kind};
    use crate::exchange::Exchange;
    use crate::http::Request;
    use crate::state::State;
    use crate::suite::{self, Numbers, Secret, ServerKeys};
    use crate::target::Target;

    /// The keys of a session with a terminal.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Keys {
        /// Between the two requests: the private key of the server, and the public one of the terminal.
        open: Option<(std::sync::Arc<ServerKeys>, String)>,
        secret: Option<Secret>,
        numbers: Numbers,
    }

    /// What the answer to an encrypted request is encrypted with.
    #[derive(Clone, Debug)]
    pub(crate) struct Sealed {
        secret: Secret,
        number: u64,
    }

    impl Sealed {
        /// Encrypts an answer, with the fault applied.
        pub(crate) fn answer(&self, answer: &mut Answer, act: Option<&Act>) {
            let fault = match act {
                Some(Act::Seal { how }) => Some(*how),
                _ => None,
            };
            if fault == Some(SealFault::Plain) {
                return;
            }
            let range = answer.fields.iter().find(|(name, _)| name == "Content-Range");
            let range = range.map_or(String::new(), |(_, range)| range.replace("bytes ", " "));
            let line = format!("{} {}{range}\n", answer.status, answer.body.len());
            let secret = match fault {
                Some(SealFault::OtherKeys) => self.secret.other(),
                _ => self.secret.clone(),
            };
            let number = self.number - u64::from(fault == Some(SealFault::Swapped));
            let mut message = secret.seal(number, &[line.as_bytes(), &answer.body].concat());
            match fault {
                Some(SealFault::Damaged) => message[23] ^= 1,
                Some(SealFault::Cut) => drop(message.pop()),
                Some(SealFault::Excess) => message.push(0),
                _ => {}
            }
            answer.body = message;
        }
    }

    /// An answer of a server that cannot open a message.
    fn cannot_open(why: &str) -> Answer {
        Answer::of(409, why)
    }

    impl State {
        /// Takes a request out of its message. What its answer is encrypted with; or the answer of a server that cannot
        /// open it.
        pub(crate) fn unseal(
            &mut self,
            request: &mut Request,
            flaws: &mut Flaws,
        ) -> Result<Option<Sealed>, Answer> {
            let sn = request.parameter("SN").unwrap_or("").to_owned();
            let in_header = request.head.field("sealed");
            let message = match in_header {
                Some(text) => STANDARD.decode(text).unwrap_or_default(),
                None if suite::is_sealed(&request.body) => request.body.clone(),
                None => {
                    let kind = Exchange::of(&request.head.method, &request.path, &request.query);
                    let is_open = matches!(kind, Exchange::Handshake | Exchange::Keys);
                    let has_keys =
                        |session: &crate::session::Session| session.keys.secret.is_some();
                    if !is_open && self.sessions.get(&sn).is_some_and(has_keys) {
                        flaws.add(Kind::Unsealed, format!("{kind} is not encrypted"));
                        return Err(cannot_open("not encrypted"));
                    }
                    return Ok(None);
                }
            };
            let Some((session, number)) = suite::head_of(&message) else {
                flaws.add(Kind::Unsealed, "the message is malformed");
                return Err(cannot_open("malformed"));
            };
            let is_it =
                |keys: &Keys| keys.secret.as_ref().is_some_and(|it| it.session() == session);
            let mut all =
                self.sessions.iter_mut().filter(|(name, _)| sn.is_empty() || sn == **name);
            let found = all.find(|(_, known)| is_it(&known.keys));
            let Some(keys) = found.map(|(_, known)| &mut known.keys) else {
                return Err(cannot_open("no such keys"));
            };
            let Some(secret) = keys.secret.clone() else { return Err(cannot_open("no keys")) };
            let opened = secret.open(&message).map(|opened| (number, opened));
            let (number, (line, body)) = match opened {
                Ok((number, opened)) if keys.numbers.take(number) => (number, opened),
                Ok((number, _)) => {
                    flaws.add(Kind::Unsealed, format!("the message {number} came before"));
                    return Err(cannot_open("the message came before"));
                }
                Err(why) => {
                    flaws.add(Kind::Unsealed, why.clone());
                    return Err(cannot_open(&why));
                }
            };
            let mut words = line.split(' ');
            let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let part = words.next().map(|part| format!("bytes={part}"));
            let inner = Target::parse(target);
            let is_same = method == request.head.method
                && request.path.ends_with(&inner.path)
                && inner.query.iter().all(|pair| request.query.contains(pair))
                && part.as_deref() == request.head.field("range");
            if !is_same {
                let text = format!("the message is for {line:?}");
                flaws.add(Kind::Unsealed, text);
                return Err(cannot_open("another request"));
            }
            request.body = body;
            Ok(Some(Sealed { secret, number }))
        }

        /// Exchanges keys, then factors (chapters 7 and 8).
        pub(crate) fn exchange_keys(
            &mut self,
            request: &Request,
            sn: &str,
            flaws: &mut Flaws,
        ) -> Answer {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let value = |name: &str| body.strip_prefix(name).map(str::to_owned);
            let keys = &mut self.session(sn).keys;
            let answer = match request.parameter("type") {
                Some("publickey") => {
                    let key = value("PublicKey=").unwrap_or_default();
                    suite::check_key(&key).map(|_| {
                        let ours = std::sync::Arc::new(ServerKeys::make());
                        let answer = format!("PublicKey={}\n", ours.public);
                        keys.open = Some((ours, key));
                        answer
                    })
                }
                Some("factors") => match keys.open.take() {
                    Some((ours, theirs)) => {
                        let agreed = ours.agree(&theirs, &value("Factors=").unwrap_or_default());
                        agreed.map(|(secret, answer)| {
                            (keys.secret, keys.numbers) = (Some(secret), Numbers::default());
                            answer
                        })
                    }
                    None => Err("factors came before keys".into()),
                },
                other => Err(format!("type is {other:?}")),
            };
            match answer {
                Ok(answer) => {
                    Answer::ok(answer).with("Content-Type", "application/push;charset=UTF-8")
                }
                Err(why) => {
                    flaws.add(Kind::KeyForm, why.clone());
                    Answer::of(400, why)
                }
            }
        }

        /// Forgets the keys of all terminals, as a server that starts anew.
        pub(crate) fn forget_keys(&mut self) {
            self.sessions.values_mut().for_each(|session| session.keys = Keys::default());
        }
    }
}

#[cfg(not(feature = "exchange"))]
mod without {
    use crate::act::Act;
    use crate::answer::Answer;
    use crate::deviation::Flaws;
    use crate::http::Request;
    use crate::state::State;

    /// This build has none.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Keys {}

    /// This build encrypts nothing.
    #[derive(Clone, Debug)]
    pub(crate) struct Sealed;

    impl Sealed {
        pub(crate) fn answer(&self, _: &mut Answer, _: Option<&Act>) {}
    }

    impl State {
        pub(crate) fn unseal(
            &mut self,
            _: &mut Request,
            _: &mut Flaws,
        ) -> Result<Option<Sealed>, Answer> {
            Ok(None)
        }

        pub(crate) fn exchange_keys(&mut self, _: &Request, _: &str, _: &mut Flaws) -> Answer {
            Answer::of(404, "Not Found")
        }

        pub(crate) fn forget_keys(&mut self) {}
    }
}
