//! User-data of any form: whatever the bytes are, every finding has a place and can be shown, and
//! what was understood once is understood again.
#![no_main]

use cloud_config::{Bundle, Values, config_static_addresses};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bundle = Bundle::local("user-data", bytes);
    let nothing = [].into();
    for values in [Values::Unknown, Values::Known(&nothing)] {
        let (config, findings) = bundle.decode(&values);
        for finding in &findings {
            assert!(!bundle.line(finding).contains('\n'));
            assert!(finding.span.start.line >= 1 && finding.span.start.column >= 1);
            let _ = bundle.render(finding);
        }
        let _ = config_static_addresses(&config);
        assert_eq!(bundle.decode(&values), (config, findings));
    }
});
