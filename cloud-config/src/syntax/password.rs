//! Hashed passwords, as crypt(5) describes them.

/// A method: its prefix and the length of its hashes.
const METHODS: &[(&str, usize)] =
    &[("$y$", 43), ("$gy$", 43), ("$6$", 86), ("$5$", 43), ("$1$", 22)];

const BCRYPT: &[&str] = &["$2a$", "$2b$", "$2y$"];

/// Whether this can be the password field of a user. The text is never part of the answer.
pub(crate) fn hash(text: &str) -> Result<(), &'static str> {
    let locked = text.trim_start_matches('!');
    if matches!(locked, "" | "*") {
        return if text.is_empty() { Err("is empty") } else { Ok(()) };
    }
    if !locked.starts_with('$') {
        return Err("is not a hash");
    }
    if !locked.bytes().all(|b| b.is_ascii_graphic() && !b":;*!\\".contains(&b)) {
        return Err("has a character that no hash has");
    }
    if BCRYPT.iter().any(|prefix| locked.starts_with(prefix)) {
        return if locked.len() == 60 { Ok(()) } else { Err(CUT_OFF) };
    }
    let Some((prefix, length)) = METHODS.iter().find(|(prefix, _)| locked.starts_with(prefix))
    else {
        return Err("is a hash of a method that is not known here");
    };
    let (settings, digest) = locked.rsplit_once('$').unwrap_or_default();
    let of_hash = |b: u8| b.is_ascii_alphanumeric() || b"./".contains(&b);
    if settings.len() < prefix.len() || digest.len() != *length || !digest.bytes().all(of_hash) {
        return Err(CUT_OFF);
    }
    Ok(())
}

const CUT_OFF: &str = "is not a whole hash";

#[cfg(test)]
mod tests {
    use super::*;

    const SHA512: &str = "$6$saltsalt$JcVDtuB6d1BHhCd5RPBh8g8xX/1CbY8EU2PN0MTaj2/Mypw4P./C6dN4j0HALhzBDTocyW1Jm.gYaTPjFGCV40";

    #[test]
    fn hashes_of_every_method_are_taken() {
        for good in [
            // each of the word "test"
            SHA512,
            "$6$rounds=4096$saltsalt$wbfMiI6Nel15caUvehZbUQymSWI83i0pjOPg418.EW9PzC6na/AjtSwX5xxjN4CFQTX2wwr.KJri0gYEqeiIN.",
            "$5$saltsalt$q6kNPzk9GPb3dpYKO2TUS45z2kiVxsUVz7eWVJcih.0",
            "$1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.",
            "$2b$10$abcdefghijklmnopqrstuuNYVhuCzN8W/N3q6oBTpBoHaLLh6DgBG",
            "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$xepEX7DgsiGhAJPJyekJSrQ8hX9NhEaSi66Ij4USOM2",
            "*",
            "!",
            "!!",
            "!*",
            &format!("!{SHA512}"),
        ] {
            assert_eq!(hash(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (bad, want) in [
            ("", "is empty"),
            ("hunter2", "is not a hash"),
            ("abcdefghijklm", "is not a hash"),
            ("$6$saltsalt$short", CUT_OFF),
            ("$6$5s2u6/jR$un0AvWnqilcgaNB3Mkxd5yYv6mTlWfOoCYHZmfi3LDKVltj.E8XNKEcwWm...", CUT_OFF),
            ("$6$", CUT_OFF),
            ("$", "is a hash of a method that is not known here"),
            ("$2b$10$short", CUT_OFF),
            ("$9$a$b", "is a hash of a method that is not known here"),
            ("$6$a:b$c", "has a character that no hash has"),
            ("$6$a b$c", "has a character that no hash has"),
        ] {
            assert_eq!(hash(bad), Err(want), "{bad}");
        }
    }
}
