/*
 * A host on Windows whose calls are placed by a program:
 *
 *   host call ID NUMBER ...   places calls, prints their outcomes, and waits for their hang-ups and for the processes
 *                             that the program names
 *   host die ID NUMBER        places a call, and ends at once when its program runs
 *   host watch                waits for the processes that the program names
 *
 * Its folder must be the current one. It opens one file, "marked", with a handle that children may inherit.
 */
#include "phonegate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

enum { POLL_MS = 50, LIMIT_MS = 60000, SHUTDOWN_MS = 20000 };

static volatile LONG hang_ups;

static void show_log_line(void *user_data, int32_t level, const char *message) {
    (void)level;
    fprintf((FILE *)user_data, "%s\n", message);
    if (strstr(message, "\"event\":\"hang_up\"") != NULL) InterlockedIncrement(&hang_ups);
}

static void open_marked_file(void) {
    SECURITY_ATTRIBUTES inheritable = {sizeof inheritable, NULL, TRUE};
    HANDLE file = CreateFileA("marked", GENERIC_WRITE, FILE_SHARE_READ, &inheritable, CREATE_ALWAYS, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) exit(10);
}

/* Prints which of the processes in the file "processes" have ended. The file may not exist: then there are none. */
static void watch(void) {
    FILE *file = fopen("processes", "r");
    unsigned long id;
    while (file != NULL && fscanf(file, "%lu", &id) == 1) {
        HANDLE process = OpenProcess(SYNCHRONIZE, FALSE, id);
        int has_ended = process == NULL || WaitForSingleObject(process, LIMIT_MS) == WAIT_OBJECT_0;
        printf("process %s\n", has_ended ? "ended" : "runs");
    }
}

/* Returns whether the call was placed and not answered in time, so that it is hung up now. */
static int print_outcome(const char *id) {
    char text[2048];
    size_t needed;
    phonegate_status status = GetCallStatus(id);
    while (status == PHONEGATE_PENDING) {
        Sleep(POLL_MS);
        status = GetCallStatus(id);
    }
    if (status == PHONEGATE_SUCCESS) {
        printf("verified\n");
        return 0;
    }
    if (GetFailureMessage(id, text, sizeof text, &needed) != PHONEGATE_OK) exit(12);
    printf("failed: %s\n", text);
    return strstr(text, "DeadlinePassed") != NULL;
}

int main(int argc, char **argv) {
    const char *task = argc > 1 ? argv[1] : "";
    int i, late = 0;

    if (strcmp(task, "watch") == 0) {
        watch();
        return 0;
    }
    open_marked_file();
    if (PhoneGateSetLogCallback(show_log_line, stderr) != PHONEGATE_OK) return 11;
    for (i = 2; i + 1 < argc; i += 2) InitiateCall(argv[i + 1], argv[i], NULL);
    if (strcmp(task, "die") == 0) {
        while (GetFileAttributesA("processes") == INVALID_FILE_ATTRIBUTES) Sleep(POLL_MS);
        TerminateProcess(GetCurrentProcess(), 9);
    }
    for (i = 2; i + 1 < argc; i += 2) late += print_outcome(argv[i]);
    for (i = 0; hang_ups < late && i < LIMIT_MS / POLL_MS; i++) Sleep(POLL_MS);
    watch();
    return PhoneGateShutdown(SHUTDOWN_MS) == PHONEGATE_OK ? 0 : 13;
}
