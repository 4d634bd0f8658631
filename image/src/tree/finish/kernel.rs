//! The kernel of the packages. It boots from the ESP, so the root tree has only its modules.

use super::FinishError;
use crate::tree::{Content, Kind, Tree};

/// Where Debian's kernel packages put the image, before the version.
const IMAGE: &str = "boot/vmlinuz-";

/// A kernel image.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The release, as `uname -r` says it; modules are in `usr/lib/modules/<release>`.
    pub release: String,
    /// The bootable image.
    pub image: Content,
}

/// Takes the one kernel out of the tree.
pub(super) fn take(tree: &mut Tree) -> Result<Kernel, FinishError> {
    let mut kernels: Vec<Kernel> = tree
        .below("boot")
        .filter_map(|(path, node)| match (&node.kind, path.strip_prefix(IMAGE)) {
            (Kind::File(image), Some(release)) => {
                Some(Kernel { release: release.to_owned(), image: image.clone() })
            }
            _ => None,
        })
        .collect();
    let count = kernels.len();
    match kernels.pop() {
        Some(kernel) if count == 1 => {
            tree.remove("boot");
            Ok(kernel)
        }
        _ => Err(FinishError::Kernels { count }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    #[test]
    fn exactly_one_kernel_is_taken() {
        let mut tree = Tree::new();
        assert!(matches!(take(&mut tree), Err(FinishError::Kernels { count: 0 })));
        tree.insert("boot/vmlinuz-6.1", Node::file(0o644, "kernel")).unwrap();
        tree.insert("boot/config-6.1", Node::file(0o644, "")).unwrap();
        let mut two = tree.clone();
        two.insert("boot/vmlinuz-6.2", Node::file(0o644, "")).unwrap();
        assert!(matches!(take(&mut two), Err(FinishError::Kernels { count: 2 })));
        let kernel = take(&mut tree).unwrap();
        assert_eq!(kernel.release, "6.1");
        assert_eq!(kernel.image.to_vec().unwrap(), b"kernel");
        assert!(!tree.contains("boot"));
    }
}
