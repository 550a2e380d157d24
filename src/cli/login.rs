//! The name of the person who runs a command, as the history records it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// The kernel's value for "no login": the login uid of a service or a container is not set (audit(7)).
const NO_LOGIN: u32 = u32::MAX;

/// The name of the user who logged in, which no unprivileged program can change. Without a login, the user of this
/// process, followed by `SUDO_USER` as a hint: anybody who can set a variable can forge it.
pub(crate) fn operator() -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let login = fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
    let process = fs::metadata("/proc/self").ok().map(|process| process.uid());
    who(login, process, std::env::var("SUDO_USER").ok().as_deref(), &passwd)
}

fn who(login: Option<u32>, process: Option<u32>, sudo_user: Option<&str>, passwd: &str) -> String {
    let name = |uid: u32| name_of(uid, passwd).unwrap_or_else(|| format!("uid {uid}"));
    if let Some(login) = login.filter(|login| *login != NO_LOGIN) {
        return name(login);
    }
    let process = process.map_or_else(|| "unknown".to_owned(), name);
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-@$".contains(letter);
    match sudo_user.filter(|user| !user.is_empty() && *user != process && user.chars().all(plain)) {
        Some(user) => format!("{process} (SUDO_USER={user})"),
        None => process,
    }
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_user_takes_precedence_over_sudo_user() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nalex:x:1000:1000::/home/alex:/bin/sh\nbroken\n";
        let who = |login, process, sudo| who(login, process, sudo, passwd);
        assert_eq!(who(Some(1000), Some(0), Some("mallory")), "alex");
        assert_eq!(who(Some(4242), Some(0), None), "uid 4242");
        assert_eq!(who(Some(NO_LOGIN), Some(0), Some("alex")), "root (SUDO_USER=alex)");
        assert_eq!(who(None, Some(0), None), "root");
        assert_eq!(who(None, Some(0), Some("root")), "root");
        assert_eq!(who(None, Some(0), Some("al\u{1b}[2Jex")), "root");
        assert_eq!(who(None, None, None), "unknown");
    }

    #[test]
    fn the_operator_of_this_process_is_known() {
        assert_ne!(operator(), "unknown");
    }
}
