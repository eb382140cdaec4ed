"""What Google's own implementation of libphonenumber makes of numbers, for tests/admission/google.rs.

`numbers` prints a line for each example number of every region and type, in six spellings. `emergency` prints the
emergency numbers of every region. Fields are separated by tabs.
"""

import re
import sys

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

TYPES = {
    PhoneNumberType.FIXED_LINE: "fixed_line",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_line_or_mobile",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.PREMIUM_RATE: "premium_rate",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.PERSONAL_NUMBER: "personal_number",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "uan",
    PhoneNumberType.VOICEMAIL: "voicemail",
}


def spellings(number, region):
    """The ways in which people write a number, each with the country where it is written and what Google parses."""
    code = str(number.country_code)
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    abroad = "DE" if region == "US" else "US"
    written = {
        "international": (region, phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)),
        "tel": (region, phonenumbers.format_number(number, PhoneNumberFormat.RFC3966)),
        "from_abroad": (abroad, phonenumbers.format_out_of_country_calling_number(number, abroad)),
        "national": (region, phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)),
    }
    for spelling, (country, text) in written.items():
        yield spelling, country, text, text
    # As MIM's page has it: a country code, a space, and the number.
    yield "mim", region, f"{code} {e164[1 + len(code):]}", e164
    yield "compact", region, e164[1:], e164


def numbers():
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in TYPES:
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            for spelling, country, text, parsed in spellings(example, region):
                read = phonenumbers.parse(parsed, country)
                name = TYPES.get(phonenumbers.number_type(read))
                valid = phonenumbers.is_valid_number(read)
                e164 = phonenumbers.format_number(read, PhoneNumberFormat.E164) if valid else ""
                print(region, TYPES[kind], spelling, country, text, e164, name or "", sep="\t")


def emergency():
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        short = phonenumbers.PhoneMetadata.short_metadata_for_region(region)
        if short is None or short.emergency is None:
            continue
        is_one = re.compile(short.emergency.national_number_pattern).fullmatch
        lengths = short.emergency.possible_length
        candidates = (str(n).zfill(length) for length in lengths for n in range(10**length))
        print(region, *sorted(filter(is_one, candidates)), sep=" ")


if __name__ == "__main__":
    print("version", phonenumbers.__version__, sep="\t")
    {"numbers": numbers, "emergency": emergency}[sys.argv[1]]()
