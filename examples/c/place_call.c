/*
 * Places one call through PhoneGate and follows it to its end.
 *
 *     cc -Iinclude examples/c/place_call.c -Ltarget/release -lphonegate -o place_call
 *     PHONEGATE_CONFIG=$PWD/examples/demo.json LD_LIBRARY_PATH=target/release ./place_call "+1 4255551212" "$(uuidgen)"
 *
 * Exit code: 0 if the call was verified, 1 if it failed, 2 if the arguments are wrong.
 */
#define _POSIX_C_SOURCE 199309L

#include "phonegate.h"

#include <stdio.h>
#include <stdlib.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <time.h>
#endif

enum { POLL_MS = 100, SHUTDOWN_MS = 5000 };

static void pause_between_polls(void) {
#ifdef _WIN32
    Sleep(POLL_MS);
#else
    struct timespec pause = {0, POLL_MS * 1000000L};
    nanosleep(&pause, NULL);
#endif
}

/* Called on a thread of the library. The text is valid only until the return. */
static void show_log_line(void *user_data, int32_t level, const char *message) {
    (void)level;
    fprintf((FILE *)user_data, "  %s\n", message);
}

/* Returns why a call failed; the caller frees the text. NULL if memory is exhausted, or the library has a defect. */
static char *failure_message(const char *id) {
    char *text = NULL;
    size_t capacity = 0, needed = 0;
    phonegate_result result;

    /* No buffer and no capacity: this only asks for the size. */
    result = GetFailureMessage(id, NULL, 0, &needed);
    /* The text may have grown since its size was returned, as long as the call has not ended: then ask again. */
    while (result == PHONEGATE_BUFFER_TOO_SMALL) {
        char *larger = realloc(text, needed);
        if (larger == NULL) break;
        text = larger;
        capacity = needed;
        result = GetFailureMessage(id, text, capacity, &needed);
    }
    if (result == PHONEGATE_OK) return text;
    free(text);
    return NULL;
}

int main(int argc, char **argv) {
    const char *number, *id;
    phonegate_status status;
    phonegate_result ended;

    if (argc != 3) {
        fprintf(stderr, "usage: %s PHONE_NUMBER REQUEST_ID\n", argv[0]);
        return 2;
    }
    number = argv[1];
    id = argv[2];
    if (PhoneGateAbiVersion() != PHONEGATE_ABI_VERSION) {
        fprintf(stderr, "phonegate.h and the library (%s) are of different versions\n", PhoneGateVersion());
        return 1;
    }
    if (PhoneGateSetLogCallback(show_log_line, stderr) != PHONEGATE_OK) {
        fprintf(stderr, "there will be no progress to see\n");
    }

    status = InitiateCall(number, id, NULL);
    printf("Calling.\n");
    while (status == PHONEGATE_PENDING) {
        pause_between_polls();
        status = GetCallStatus(id);
    }

    /* Only one number means success. Every other one is a failure, even if this program does not know it. */
    if (status == PHONEGATE_SUCCESS) {
        printf("Verified.\n");
    } else {
        char *message = failure_message(id);
        printf("Failed: %s\n", message == NULL ? "the reason cannot be read" : message);
        free(message);
    }

    ended = PhoneGateShutdown(SHUTDOWN_MS);
    if (ended != PHONEGATE_OK) fprintf(stderr, "PhoneGateShutdown: %ld\n", (long)ended);
    PhoneGateSetLogCallback(NULL, NULL);
    return status == PHONEGATE_SUCCESS ? 0 : 1;
}
