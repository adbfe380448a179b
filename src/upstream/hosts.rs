//! The hosts file of this machine, read by us.
//!
//! Names go to the system's resolver with a final dot, so that no search domain is ever put behind
//! them. With that dot the system would not find them in its hosts file, which is where containers and
//! people name an LLM box. Called by `resolver` alone; blocking, of bounded size.

use std::{fs::File, io::Read, net::IpAddr, path::Path};

/// Long block lists are written into hosts files.
const MAX_FILE: u64 = 32 << 20;

#[cfg(unix)]
pub const HOSTS: &str = "/etc/hosts";
#[cfg(windows)]
pub const HOSTS: &str = r"C:\Windows\System32\drivers\etc\hosts";

/// All addresses of a canonical name in this file. An unreadable file holds none.
pub fn look_up(file: &Path, name: &str) -> Vec<IpAddr> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|f| f.take(MAX_FILE).read_to_end(&mut bytes));
    match read {
        Ok(_) => find(&String::from_utf8_lossy(&bytes), name),
        Err(_) => Vec::new(),
    }
}

fn find(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        // A zone (`fe80::1%lo0`) is of no use for an address that is link-local, and closed.
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else {
            continue;
        };
        let same = |word: &str| word.trim_end_matches('.').eq_ignore_ascii_case(name);
        if words.any(same) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_a_whole_and_in_any_case() {
        let text = "127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # the same\n\
                    192.168.1.9  Sparkle.LAN sparkle\n# 10.0.0.1 commented\nnonsense sparkle\n\
                    10.0.0.2 dotted.test.\n192.168.1.9 sparkle\n";
        let rows: &[(&str, &str, &[&str])] = &[
            ("both families", "localhost", &["127.0.0.1", "::1"]),
            ("another case, once", "sparkle", &["192.168.1.9"]),
            ("its long name", "sparkle.lan", &["192.168.1.9"]),
            ("with a dot", "dotted.test", &["10.0.0.2"]),
            ("half of a name", "spark", &[]),
            ("a comment", "commented", &[]),
            ("a word of a comment", "same", &[]),
        ];
        for (row, name, want) in rows {
            let want: Vec<IpAddr> = want.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(find(text, name), want, "{row}");
        }
        assert_eq!(
            look_up(Path::new("/nonexistent/hosts"), "localhost"),
            Vec::<IpAddr>::new()
        );
    }
}
