//! Who logs in with which password, and until when.

use cloud_config::{Config, Secret, Spanned};
use sha_crypt::{PasswordHasher as _, ShaCrypt};

use super::Draft;
use crate::accounts::Aging;
use crate::ledger::sha256;

/// Bytes of a salt: as text these are the sixteen characters that crypt(5) takes.
const SALT: usize = 12;

/// A password as the configuration has it in the end.
struct Wanted<'a> {
    user: &'a Spanned<String>,
    hash: String,
    /// It is to be changed at the first login.
    expire: bool,
}

impl Draft<'_> {
    /// Sets passwords; one that an earlier configuration set and this one does not is locked.
    pub(super) fn passwords(&mut self, config: &Config, removals: bool) {
        let wanted = self.wanted(config);
        let earlier = &self.context.facts.ledger.passwords;
        for (name, hashes) in earlier {
            let named = wanted.iter().any(|wanted| wanted.user.value == *name);
            let current = self.accounts.password(name);
            if !removals || named || current.as_deref().is_none_or(|hash| hash == "*") {
                continue;
            }
            if current.is_some_and(|current| hashes.contains(&sha256(current.as_bytes()))) {
                // `*` has nothing in it that could be refused.
                let _ = self.accounts.set_password(name, "*");
            } else {
                self.notes.push(format!(
                    "the password of `{name}` is no longer configured, but was changed since: kept"
                ));
            }
        }
        for Wanted { user, hash, expire } in wanted {
            let name = &user.value;
            if self.accounts.user(name).is_none() {
                self.error(user.span, format!("there is no user `{name}` on this machine"));
                continue;
            }
            let record = vec![sha256(hash.as_bytes())];
            // A password that was to be changed and was set already may have been changed.
            let done = expire && self.context.facts.ledger.passwords.get(name) == Some(&record);
            if !done {
                if let Err(problem) = self.accounts.set_password(name, &hash) {
                    self.error(user.span, format!("user `{name}`: {problem}"));
                    continue;
                }
                if expire {
                    self.accounts.expire_password(name);
                }
            }
            self.owned.passwords.insert(name.clone(), record);
        }
        for user in &config.users {
            let name = &user.name.value;
            if self.accounts.user(name).is_some() && self.is_ours(name) {
                let aging = Aging { inactive: user.inactive, expires: user.expires };
                self.accounts.set_aging(name, aging);
            }
        }
    }

    /// The passwords that are asked for, the last one for a name counting.
    fn wanted<'c>(&mut self, config: &'c Config) -> Vec<Wanted<'c>> {
        let mut wanted: Vec<Wanted<'c>> = Vec::new();
        let mut take = |next: Wanted<'c>| {
            wanted.retain(|earlier| earlier.user.value != next.user.value);
            wanted.push(next);
        };
        for user in &config.users {
            if let Some(hash) = user.passwd.as_ref().filter(|hash| !hash.value.is_empty()) {
                take(Wanted { user: &user.name, hash: hash.value.clone(), expire: false });
            }
        }
        for password in &config.passwords {
            let hash = match &password.secret {
                Secret::Hash(hash) => hash.clone(),
                Secret::Clear(text) => match hashed(text, &self.salt(&password.user.value)) {
                    Some(hash) => hash,
                    None => {
                        let message = "this password cannot be hashed";
                        self.error(password.user.span, message);
                        continue;
                    }
                },
            };
            take(Wanted { user: &password.user, hash, expire: password.expire });
        }
        for user in config.users.iter().filter(|user| user.lock_passwd) {
            let of_user = wanted.iter_mut().find(|wanted| wanted.user.value == user.name.value);
            if let Some(wanted) = of_user.filter(|wanted| !wanted.hash.starts_with('!')) {
                wanted.hash.insert(0, '!');
            }
        }
        wanted
    }

    /// A salt that is the same at every boot of this machine and of no other: a hash that is
    /// made again must not differ.
    fn salt(&self, user: &str) -> Vec<u8> {
        let of_machine = format!("password {} {user}", self.context.machine_id);
        sha256(of_machine.as_bytes()).into_bytes()[..SALT].to_vec()
    }
}

/// A password as sha512-crypt hashes it.
fn hashed(password: &str, salt: &[u8]) -> Option<String> {
    let hash = ShaCrypt::SHA512.hash_password_with_salt(password.as_bytes(), salt).ok()?;
    Some(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_passwords_are_hashed_as_crypt_does() {
        let hash = hashed("geheim", b"0123456789ab").unwrap();
        // As crypt(3) of libxcrypt hashes it with this salt.
        let want = "$6$rounds=5000$k2XAnEHBqQ1Ct2aM$FkiqwCT2Y461fW3XA08ovQHgU7HiR63IGYej/btKZsY7cozg8A22oOrYSsca4UFLCkTeSff5nSxQHyhIqfY2v1";
        assert_eq!(hash, want);
    }
}
