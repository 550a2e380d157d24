//! `kind = "email"`: sends a plain-text mail over SMTP, with TLS unless the configuration turns it off.

use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransport, Error};
use lettre::{AsyncTransport, Tokio1Executor};

use crate::adapters::notify::{Tools, cut, misconfigured};
use crate::config::settings::{EmailSettings, MailTls};
use crate::core::alert::{Notification, headline, lines};
use crate::core::rotation::RefusalCode;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Fault, Sink};

/// The maximum length of a subject, in characters. Mail programs show about this much.
const SUBJECT_CHARS_MAX: usize = 150;

pub(super) struct Email {
    pub(super) tools: Tools,
    pub(super) settings: EmailSettings,
}

type Transport = AsyncSmtpTransport<Tokio1Executor>;

#[async_trait]
impl Sink for Email {
    async fn tell(&self, notification: &Notification, now: Timestamp, _holds_until: Timestamp) -> Answer<()> {
        let message = self.message(notification, now)?;
        let transport = self.transport().await?;
        match tokio::time::timeout(self.tools.timeout, transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.fault(&error)),
            Err(_) => Err(Fault::unknown(format!("{} did not take the mail in time", self.settings.host))),
        }
    }

    /// Connects, with TLS and login if they are configured, and disconnects again. Sends no mail.
    async fn probe(&self) -> Answer<String> {
        let transport = self.transport().await?;
        match tokio::time::timeout(self.tools.timeout, transport.test_connection()).await {
            Ok(Ok(true)) => Ok(format!("{} can be reached and would take mail", self.settings.host)),
            Ok(Ok(false)) => {
                Err(Fault::unknown(format!("{} does not answer as a mail server", self.settings.host)))
            }
            Ok(Err(error)) => Err(self.fault(&error)),
            Err(_) => Err(Fault::unknown(format!("{} did not answer in time", self.settings.host))),
        }
    }
}

impl Email {
    async fn transport(&self) -> Answer<Transport> {
        let EmailSettings { host, port, tls, .. } = &self.settings;
        let parameters = || {
            let parameters = TlsParameters::new(host.clone());
            parameters.map_err(|_| misconfigured(format!("TLS with {host} cannot be set up")))
        };
        let tls = match tls {
            MailTls::Tls => Tls::Wrapper(parameters()?),
            MailTls::StartTls => Tls::Required(parameters()?),
            MailTls::None => Tls::None,
        };
        // `builder_dangerous` presets no TLS; `tls` sets what the configuration asks for.
        let mut builder =
            Transport::builder_dangerous(host).port(*port).tls(tls).timeout(Some(self.tools.timeout));
        if let Some((user, password)) = &self.settings.login {
            let password = self.tools.resolve(password).await?;
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(builder.build())
    }

    fn message(&self, notification: &Notification, now: Timestamp) -> Answer<Message> {
        let from = mailbox(&self.settings.from)?;
        let to = self.settings.to.iter().map(|to| mailbox(to)).collect::<Answer<Vec<Mailbox>>>()?;
        let unmade = || misconfigured("the mail cannot be made");
        let envelope =
            Envelope::new(Some(from.email.clone()), to.iter().map(|to| to.email.clone()).collect());
        let at = UNIX_EPOCH + Duration::from_secs(now.unix_seconds().unsigned_abs());
        let mut builder = Message::builder()
            .from(from)
            .envelope(envelope.map_err(|_| unmade())?)
            .date(at)
            .subject(cut(&headline(notification), SUBJECT_CHARS_MAX))
            .header(ContentType::TEXT_PLAIN);
        for to in to {
            builder = builder.to(to);
        }
        // Without an argument, lettre generates the Message-ID.
        let mut message = builder.message_id(None).body(text(notification)).map_err(|_| unmade())?;
        // Keeps receivers from sending automatic replies, such as holiday notices (RFC 3834).
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
        Ok(message)
    }

    /// The fault for an error of the SMTP library. It repeats the status code of the server, and not its text.
    fn fault(&self, error: &Error) -> Fault {
        let host = &self.settings.host;
        if let Some(status) = error.status() {
            let sentence = format!("{host} did not take the mail: {status}");
            return match error.is_permanent() {
                true => Fault::refused(RefusalCode::Other, sentence),
                false => Fault::unknown(sentence),
            };
        }
        if error.is_timeout() {
            return Fault::unknown(format!("{host} did not answer in time"));
        }
        if error.is_tls() {
            return Fault::refused(
                RefusalCode::NotSent,
                format!("TLS with {host} failed, or it is not trusted"),
            );
        }
        Fault::unknown(format!(
            "{host} cannot be reached, closed the connection, or does not offer a required feature"
        ))
    }
}

fn mailbox(text: &str) -> Answer<Mailbox> {
    text.parse().map_err(|_| misconfigured(format!("{text:?} is not a mail address")))
}

fn text(notification: &Notification) -> String {
    let mut text = lines(notification).join("\n\n");
    text.push_str("\n\n-- \nRun keyround status for the state of all keys, and keyround explain VENDOR for the reason.\n");
    text
}
