/*
 * Stands in for the PhoneGate library if a test needs a faulty one, or one that records what it is passed.
 *
 * ABI_VERSION         what PhoneGateAbiVersion returns
 * STATUS              what InitiateCall and GetCallStatus return
 * MESSAGE_CHARACTERS  the length of every failure message, in characters of two bytes
 * REFUSES_TO_START    loading it fails (on Windows)
 *
 * With FAKE_PHONEGATE_RECORD set, each InitiateCall adds a line to that file: its three texts, as they are, with a tab
 * between them. To leave an export out, rename it: -DGetCallStatus=Renamed.
 */
#include "phonegate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef ABI_VERSION
#define ABI_VERSION PHONEGATE_ABI_VERSION
#endif
#ifndef STATUS
#define STATUS PHONEGATE_PENDING
#endif
#ifndef MESSAGE_CHARACTERS
#define MESSAGE_CHARACTERS 10
#endif

static const char *text(const char *given) { return given == NULL ? "(null)" : given; }

phonegate_status InitiateCall(const char *phone_number, const char *request_id, const char *delivery_attributes) {
    const char *path = getenv("FAKE_PHONEGATE_RECORD");
    FILE *record = path == NULL ? NULL : fopen(path, "ab");
    if (record != NULL) {
        fprintf(record, "%s\t%s\t%s\n", text(phone_number), text(request_id), text(delivery_attributes));
        fclose(record);
    }
    return STATUS;
}

phonegate_status GetCallStatus(const char *call_id) {
    (void)call_id;
    return STATUS;
}

phonegate_result GetFailureMessage(const char *call_id, char *buffer, size_t capacity, size_t *needed) {
    static const char character[2] = {(char)0xC3, (char)0xA9};
    size_t i, fitting = capacity == 0 ? 0 : (capacity - 1) / 2;
    if (call_id == NULL || (buffer == NULL && capacity > 0)) return PHONEGATE_INVALID_ARGUMENT;
    if (needed != NULL) *needed = 2 * (size_t)MESSAGE_CHARACTERS + 1;
    if (fitting > MESSAGE_CHARACTERS) fitting = MESSAGE_CHARACTERS;
    for (i = 0; i < fitting; i++) memcpy(buffer + 2 * i, character, 2);
    if (capacity > 0) buffer[2 * fitting] = '\0';
    return capacity > 2 * (size_t)MESSAGE_CHARACTERS ? PHONEGATE_OK : PHONEGATE_BUFFER_TOO_SMALL;
}

uint32_t PhoneGateAbiVersion(void) { return ABI_VERSION; }

#ifdef REFUSES_TO_START
int __stdcall DllMain(void *module, unsigned long reason, void *reserved);
int __stdcall DllMain(void *module, unsigned long reason, void *reserved) {
    (void)module, (void)reason, (void)reserved;
    return 0;
}
#endif
