//! The hypervisor's backdoor: a port that it answers itself.

/// The hypervisor, ready to be asked.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub(super) struct Backdoor(vmw_backdoor::BackdoorGuard);

/// Opens the backdoor; nothing where the processor does not say that this is VMware, which costs
/// one instruction to find out.
#[cfg(target_arch = "x86_64")]
pub(super) fn open() -> Option<Result<Backdoor, String>> {
    if !vmw_backdoor::is_vmware_cpu() {
        return None;
    }
    // A kernel that is locked down gives nobody the port, but the hypervisor lets everybody.
    let opened = vmw_backdoor::access_backdoor_privileged()
        .or_else(|_| vmw_backdoor::access_backdoor())
        .and_then(|mut guard| guard.probe_vmware_backdoor().map(|()| guard));
    Some(opened.map(Backdoor).map_err(|error| format!("it does not answer: {error}")))
}

#[cfg(target_arch = "x86_64")]
impl Backdoor {
    /// Has `asker` ask.
    pub(super) fn ask<T>(
        &mut self,
        asker: impl FnOnce(&mut dyn super::GuestInfo) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut channel =
            self.0.open_enhanced_chan().map_err(|error| format!("it opens no channel: {error}"))?;
        asker(&mut Channel(&mut channel))
    }
}

/// An open channel.
#[cfg(target_arch = "x86_64")]
struct Channel<'c, 'g>(&'c mut vmw_backdoor::EnhancedChan<'g>);

#[cfg(target_arch = "x86_64")]
impl super::GuestInfo for Channel<'_, '_> {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let name = format!("guestinfo.{key}");
        let value = self.0.get_guestinfo(name.as_bytes());
        let mut value = value.map_err(|error| format!("{name}: {error}"))?;
        // Some tools set the end of a C string along with it.
        if let Some(value) = &mut value {
            while value.pop_if(|byte| *byte == 0).is_some() {}
        }
        Ok(value)
    }
}

/// There is no such port on other processors.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Debug)]
pub(super) enum Backdoor {}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn open() -> Option<Result<Backdoor, String>> {
    None
}

#[cfg(not(target_arch = "x86_64"))]
impl Backdoor {
    pub(super) fn ask<T>(
        &mut self,
        _: impl FnOnce(&mut dyn super::GuestInfo) -> Result<T, String>,
    ) -> Result<T, String> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    /// These tests run on other hypervisors, or on none: the port must not even be touched.
    #[test]
    fn elsewhere_than_on_vmware_there_is_no_backdoor() {
        let product = std::fs::read_to_string("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
        if !product.starts_with("VMware") {
            assert!(super::open().is_none());
        }
    }
}
