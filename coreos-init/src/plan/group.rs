//! `groups`: made before the users that are to be in them.

use cloud_config::Config;

use super::Draft;
use crate::ledger::OwnedGroup;

impl Draft<'_> {
    /// Makes the groups that there are not yet.
    pub(super) fn make_groups(&mut self, config: &Config) {
        for group in &config.groups {
            let name = &group.name.value;
            let record = self.owned.groups.get(name).cloned().unwrap_or_default();
            let gid = match self.accounts.group(name) {
                Some(_) => {
                    if record.gid.is_some() {
                        self.accounts.complete_group(name);
                    }
                    record.gid
                }
                None => match self.accounts.create_group(name, record.gid) {
                    Ok(gid) => Some(gid),
                    Err(problem) => {
                        self.error(group.name.span, format!("group `{name}`: {problem}"));
                        continue;
                    }
                },
            };
            let record = OwnedGroup { gid, present: true, ..record };
            self.owned.groups.insert(name.clone(), record);
        }
    }

    /// Puts into each group who is to be in it, and takes out who was put there earlier.
    pub(super) fn fill_groups(&mut self, config: &Config) {
        for group in &config.groups {
            let name = &group.name.value;
            let earlier = self.owned.groups.get(name).map(|group| group.members.clone());
            for member in earlier.unwrap_or_default() {
                let own = config.users.iter().any(|user| {
                    user.name.value == member && user.groups.iter().any(|g| g.value == *name)
                });
                if !own && group.members.iter().all(|wanted| wanted.value != member) {
                    self.accounts.leave(name, &member);
                }
            }
            let mut members = Vec::new();
            for member in &group.members {
                if self.accounts.user(&member.value).is_none() {
                    let message = format!("there is no user `{}` on this machine", member.value);
                    self.error(member.span, message);
                } else if self.accounts.join(name, &member.value).is_ok() {
                    members.push(member.value.clone());
                }
            }
            if let Some(record) = self.owned.groups.get_mut(name) {
                record.members = members;
            }
        }
    }

    /// Removes what a configuration made and this one does not name.
    pub(super) fn remove_groups(&mut self, config: &Config) {
        let mut gone = Vec::new();
        for (name, group) in &mut self.owned.groups {
            if group.present && config.groups.iter().all(|wanted| wanted.name.value != *name) {
                gone.push((name.clone(), std::mem::take(&mut group.members), group.gid));
                group.present = false;
            }
        }
        for (name, members, gid) in gone {
            members.iter().for_each(|member| self.accounts.leave(&name, member));
            if let Some(gid) = gid
                && !self.accounts.remove_group(&name, gid)
            {
                self.notes.push(format!(
                    "the group `{name}` is no longer configured, but is somebody's primary group: kept"
                ));
            }
        }
    }
}
