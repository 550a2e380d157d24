//! What the status of a vendor's response means: accepted, refused or unknown.
//!
//! **Invariant:** only a status that is a redirect or a client error in HTTP counts as a refusal, and 408 (time-out)
//! does not. A server error, a time-out of a gateway before the vendor, or another success status than the expected
//! one may have changed something, so its outcome is unknown.

use std::time::Duration;

use crate::core::rotation::{Doubt, Refusal, RefusalCode};
use crate::core::time::Timestamp;
use crate::ports::{Answer, Fault, Response};

/// Checks the status of a response against the accepted ones. If none are given, any 2xx is accepted.
pub(super) fn accepted(host: &str, response: &Response, statuses: &[u16], now: Timestamp) -> Answer<()> {
    let status = response.status;
    let expected = match statuses {
        [] => (200..300).contains(&status),
        some => some.contains(&status),
    };
    if expected { Ok(()) } else { Err(fault(host, status, response.retry_after(now))) }
}

fn fault(host: &str, status: u16, retry_after: Option<Duration>) -> Fault {
    let refused = |code, sentence| {
        Fault::Refused(Refusal {
            code,
            sentence,
            retry_after,
            nothing_sent: false,
            pairs: Vec::new(),
            said: None,
        })
    };
    match status {
        300..=399 => {
            let sentence = format!("{host} answered {status}: redirects are not followed");
            refused(RefusalCode::VendorRefused, sentence)
        }
        410 => refused(RefusalCode::VendorGone, format!("{host} answered 410: the address is gone for good")),
        400..=407 | 409..=499 => refused(RefusalCode::VendorRefused, format!("{host} answered {status}")),
        200..=299 => {
            let sentence = format!("{host} answered {status}, which is not the status that was expected");
            Fault::Unknown(Doubt { sentence, retry_after, pairs: Vec::new(), said: None })
        }
        _ => Fault::Unknown(Doubt {
            sentence: format!("{host} answered {status}"),
            retry_after,
            pairs: Vec::new(),
            said: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::secret::Secret;

    const NOW: &str = "2026-11-23T03:00:00Z";

    fn judge(status: u16, statuses: &[u16], retry_after: Option<&str>) -> Answer<()> {
        let headers = retry_after.map(|text| ("retry-after".to_owned(), text.to_owned()));
        let headers = BTreeMap::from_iter(headers);
        let response = Response { status, headers, body: Secret::from("") };
        accepted("acme.example", &response, statuses, NOW.parse().expect("a time"))
    }

    #[test]
    fn response_statuses_are_accepted_refused_or_unknown() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judge(status, &[], None), Ok(()), "{status}");
        }
        for (status, code) in [
            (301, RefusalCode::VendorRefused),
            (307, RefusalCode::VendorRefused),
            (400, RefusalCode::VendorRefused),
            (401, RefusalCode::VendorRefused),
            (404, RefusalCode::VendorRefused),
            (409, RefusalCode::VendorRefused),
            (410, RefusalCode::VendorGone),
            (425, RefusalCode::VendorRefused),
            (429, RefusalCode::VendorRefused),
        ] {
            let fault = judge(status, &[], None).expect_err("not accepted");
            assert!(matches!(&fault, Fault::Refused(refusal) if refusal.code == code), "{status} {fault:?}");
        }
        for status in [101, 408, 500, 502, 503, 504, 599, 999] {
            let fault = judge(status, &[], None).expect_err("not accepted");
            assert!(matches!(fault, Fault::Unknown(_)), "{status} {fault:?}");
        }
    }

    #[test]
    fn a_success_status_that_is_not_listed_is_an_unknown_result() {
        assert_eq!(judge(201, &[201, 204], None), Ok(()));
        assert_eq!(judge(404, &[404], None), Ok(()));
        let fault = judge(202, &[201, 204], None).expect_err("not accepted");
        assert!(matches!(fault, Fault::Unknown(_)), "{fault:?}");
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let wait = |status, text| match judge(status, &[], Some(text)).expect_err("not accepted") {
            Fault::Refused(refusal) => refusal.retry_after,
            Fault::Unknown(doubt) => doubt.retry_after,
        };
        assert_eq!(wait(429, "120"), Some(Duration::from_mins(2)));
        assert_eq!(wait(503, " 0 "), Some(Duration::ZERO));
        assert_eq!(wait(503, "Mon, 23 Nov 2026 03:01:00 GMT"), Some(Duration::from_mins(1)));
        assert_eq!(wait(503, "Mon, 23 Nov 2026 02:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-1", "99999999999999999999999"] {
            assert_eq!(wait(429, nonsense), None, "{nonsense:?}");
        }
    }
}
