//! Countries in a configuration.

use rlibphonenumber::{PHONE_NUMBER_UTIL, Region};

use super::ConfigError;

/// Returns the countries of a calling code such as 1 or 49, as ISO 3166-1 alpha-2, the main one first. Empty if there
/// is none.
pub fn countries_of(calling_code: u16) -> Vec<String> {
    let regions = PHONE_NUMBER_UTIL.get_regions_for_country_calling_code(i32::from(calling_code));
    let names = regions.into_iter().flatten().map(|region| region.as_region_str().as_str().to_owned());
    // The region 001 is for numbers of no country, such as +800.
    names.filter(|name| name.len() == 2).collect()
}

/// Returns the country of a code at `path` of the configuration.
///
/// # Errors
/// If ISO 3166-1 alpha-2 has no such code, or the country has no telephone numbers.
pub(crate) fn country(path: &str, code: &str) -> Result<Region, ConfigError> {
    let known = |region: &Region| {
        region.as_region_str().as_str() == code && PHONE_NUMBER_UTIL.get_country_code_for_region(*region).is_some()
    };
    code.parse().ok().filter(known).ok_or_else(|| {
        ConfigError::invalid(
            path,
            format_args!("`{code}` is not a country; write its two letters of ISO 3166-1, such as US"),
        )
    })
}
