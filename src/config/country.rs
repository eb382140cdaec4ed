//! Countries in a configuration.

use rlibphonenumber::{PHONE_NUMBER_UTIL, Region};

use super::ConfigError;

/// The country of a code, which stands at `path`.
///
/// # Errors
/// Where it is none of ISO 3166-1 alpha-2 that has telephone numbers.
pub(crate) fn country(path: &str, code: &str) -> Result<Region, ConfigError> {
    let known = |region: &Region| {
        region.as_region_str().as_str() == code && PHONE_NUMBER_UTIL.get_country_code_for_region(*region).is_some()
    };
    code.parse().ok().filter(known).ok_or_else(|| {
        ConfigError::invalid(
            path,
            format_args!("`{code}` is not a country; write its two letters of ISO 3166-1, as US"),
        )
    })
}
