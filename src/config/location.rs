//! Camera addresses and secrets: taking credentials out of URLs, `${ENV}`, and hiding both in output.

/// A location taken apart, so that credentials travel separately from it.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// The location without user and password.
    pub location: String,
    /// Percent-decoded.
    pub user: Option<String>,
    /// Percent-decoded.
    pub password: Option<String>,
}

/// Takes `user:password@` out of a URL. A location without `scheme://` comes back as it is.
///
/// # Errors
/// Says what is wrong, without quoting the location (it may hold a password).
pub fn split(location: &str) -> Result<Split, String> {
    let Some((scheme, rest)) = location.split_once("://") else {
        return Ok(Split { location: location.into(), user: None, password: None });
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    let location = format!("{scheme}://{host}{path}");
    let Some(userinfo) = userinfo else { return Ok(Split { location, user: None, password: None }) };
    let (user, password) = match userinfo.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (userinfo, None),
    };
    Ok(Split {
        location,
        user: Some(percent_decoded(user)?),
        password: password.map(percent_decoded).transpose()?,
    })
}

/// Looks at the form of an RTSP URL that holds no credentials any more.
///
/// # Errors
/// Says what is wrong, without quoting the location (a password that was not percent-encoded may
/// have been taken for host or port).
pub fn check_rtsp(location: &str) -> Result<(), &'static str> {
    let Some((scheme, rest)) = location.split_once("://") else { return Err("not a URL") };
    if !["rtsp", "rtsps"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err("not an RTSP URL");
    }
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    // An IPv6 address stands in brackets, and its colons are not the port's.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() {
        return Err("the URL has no host");
    }
    if port.is_some_and(|port| !port.is_empty() && !matches!(port.parse::<u16>(), Ok(1..))) {
        return Err("the port of the URL is not a number from 1 to 65535");
    }
    if location.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("the URL holds a space or a control character");
    }
    Ok(())
}

/// A location that may be shown: credentials and query values masked, host and path left visible.
pub fn redacted(location: &str) -> String {
    let Some((scheme, rest)) = location.split_once("://") else {
        // A URL whose scheme was forgotten.
        return match location.rsplit_once('@') {
            Some((before, host)) if before.contains(':') => format!("***@{host}"),
            _ => location.into(),
        };
    };
    let (rest, query) = match rest.split_once('?') {
        // A stray `@` behind the `?` would mean that the `?` belongs to a password.
        Some((rest, query)) if !query.contains('@') => (rest, Some(query)),
        _ => (rest, None),
    };
    // The last `@`, so that a password with an unescaped `/` or `@` stays hidden too.
    let shown = match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}"),
        None => format!("{scheme}://{rest}"),
    };
    match query {
        Some(_) => format!("{shown}?***"),
        None => shown,
    }
}

/// Replaces `${NAME}` by what `env` knows under that name; `$${` stands for a plain `${`.
///
/// # Errors
/// The name that is unknown, or what is malformed.
pub fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(plain) = before.strip_suffix('$') {
            out.push_str(plain);
            out.push_str("${");
            rest = after;
            continue;
        }
        let end = after.find('}').ok_or("\"${\" without \"}\"")?;
        let name = &after[..end];
        let named = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
        if !named {
            return Err("between \"${\" and \"}\" stands no environment variable's name".into());
        }
        out.push_str(before);
        out.push_str(&env(name).ok_or_else(|| format!("the environment variable {name} is not set"))?);
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// RFC 3986 §2.1.
fn percent_decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        bytes.push(
            byte.and_then(|hex| u8::from_str_radix(hex, 16).ok())
                .ok_or("a \"%\" in the credentials is not followed by two hexadecimal digits")?,
        );
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| "the percent-encoded credentials are not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (String, Option<String>, Option<String>) {
        let split = split(url).expect(url);
        (split.location, split.user, split.password)
    }

    #[test]
    fn credentials_leave_the_url_decoded() {
        let some = |s: &str| Some(s.to_string());
        assert_eq!(
            parts("rtsp://admin:p%40ss%2Fw%3Ard@10.0.0.5:554/h264?x=1"),
            ("rtsp://10.0.0.5:554/h264?x=1".into(), some("admin"), some("p@ss/w:rd"))
        );
        assert_eq!(parts("rtsp://a:b@c@host/"), ("rtsp://host/".into(), some("a"), some("b@c")));
        assert_eq!(parts("rtsp://host/x@y"), ("rtsp://host/x@y".into(), None, None));
        assert_eq!(parts("rtsp://admin@host"), ("rtsp://host".into(), some("admin"), None));
        assert_eq!(parts("/videos/a.mp4"), ("/videos/a.mp4".into(), None, None));
        assert!(split("rtsp://a:%zz@host").is_err());
        assert!(split("rtsp://a:%f@host").is_err());
    }

    #[test]
    fn rtsp_urls_are_looked_at() {
        for good in ["rtsp://h", "rtsps://h:8554/a b%20".trim_end_matches(" b%20"), "rtsp://[::1]:554/x"] {
            assert_eq!(check_rtsp(good), Ok(()), "{good}");
        }
        for bad in ["h", "http://h", "rtsp:///x", "rtsp://h:0/", "rtsp://h:pass", "rtsp://h/a b", "rtsp://:5"]
        {
            assert!(check_rtsp(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_secret_is_left_in_what_is_shown() {
        let secret = "c4nary";
        for url in [
            "rtsp://u:c4nary@h/p",
            "rtsp://u:a/c4nary@h/p",
            "rtsp://u:a@c4nary@h/p",
            "rtsp://u:a?c4nary@h/p",
            "rtsp://h/p?user=a&password=c4nary",
        ] {
            assert!(!redacted(url).contains(secret), "{url} -> {}", redacted(url));
            assert!(redacted(url).contains("h/p"), "{url} -> {}", redacted(url));
        }
        assert_eq!(redacted("rtsp://h/p"), "rtsp://h/p");
    }

    #[test]
    fn variables_are_expanded_or_named() {
        let env = |name: &str| (name == "PW").then(|| "s${x".to_string());
        assert_eq!(expand("a${PW}b", &env).as_deref(), Ok("as${xb"));
        assert_eq!(expand("a$${PW}$b", &env).as_deref(), Ok("a${PW}$b"));
        assert_eq!(expand("${NO}", &env), Err("the environment variable NO is not set".into()));
        assert!(expand("${PW", &env).is_err());
        assert!(expand("${}", &env).is_err());
    }
}
