/*
 * phonegate.h: the C interface of PhoneGate, the phone-call second factor.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Conventions of all functions
 * ----------------------------
 * Fail closed   A status is PHONEGATE_SUCCESS only if a telephony backend reported the approval of this attempt before
 *               its deadline, and for at most `call.keep_finished_s` after it. In any other case, including NULL, bad
 *               text, an unknown id, a bad configuration, a timeout or a defect of the library, it is PHONEGATE_FAILED.
 * Explained     GetFailureMessage returns a text for every failed id, on any thread.
 * Strings in    NUL-terminated UTF-8, borrowed for the duration of the call. At most 256 bytes for a phone number or an
 *               id, 65,536 for delivery attributes, 32,767 for a path, without the NUL. Longer strings are rejected.
 * Strings out   Written to the caller's buffer. `*needed` receives the size of the whole text including its NUL;
 *               `needed` may be NULL. PHONEGATE_OK: the buffer has the whole text. PHONEGATE_BUFFER_TOO_SMALL: it has
 *               a NUL-terminated prefix, cut at a character boundary. With `buffer` NULL and `capacity` 0, the function
 *               only returns the size. Nothing is written if `capacity` is 0. `buffer` NULL with a capacity above 0 is
 *               PHONEGATE_INVALID_ARGUMENT.
 * Ids           A GUID in one of .NET's formats D, N, B and P, in upper or lower case. The nil GUID is rejected.
 * Ownership     No memory changes owner. The library keeps no pointer of the caller after a call, except for the log
 *               callback and its user data.
 * Threads       Every function may be called from any thread at any time.
 * Forks         A process that is forked after the gate has started lacks the threads of the library. It cannot use it:
 *               statuses are PHONEGATE_FAILED, and the other results PHONEGATE_FORKED.
 * Unloading     The library stays loaded until the process ends, because its threads run its code.
 *
 * The gate starts at the first call that needs it. It reads the file that the environment variable PHONEGATE_CONFIG
 * names by its full path, else `phonegate.json` in the folder of this library. A failed start is tried again at a later
 * call, at most every 2 seconds, so the file can be corrected without restarting the host.
 */
#ifndef PHONEGATE_H
#define PHONEGATE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The return value of PhoneGateAbiVersion for this header. */
#define PHONEGATE_ABI_VERSION 1

/* The status of a call. */
typedef int32_t phonegate_status;

#define PHONEGATE_PENDING 0
#define PHONEGATE_SUCCESS 1
#define PHONEGATE_FAILED 2

/* The result of a function. Codes are never reused. */
typedef int32_t phonegate_result;

#define PHONEGATE_OK 0

/* 1 to 19: caused by the caller. */
#define PHONEGATE_INVALID_ARGUMENT 1    /* NULL where it is not allowed, or a NULL buffer with a capacity */
#define PHONEGATE_INVALID_UTF8 2        /* text that is not UTF-8 */
#define PHONEGATE_TEXT_TOO_LONG 3       /* text longer than its limit (see "Strings in") */
#define PHONEGATE_BUFFER_TOO_SMALL 4    /* `*needed` has the required size; the buffer has a prefix */
#define PHONEGATE_ALREADY_INITIALIZED 5 /* the gate runs with another configuration; shut it down first */
#define PHONEGATE_IN_CALLBACK 6         /* not allowed inside the log callback */
#define PHONEGATE_TIMED_OUT 7           /* the timeout passed before the work was complete */
#define PHONEGATE_FORKED 8              /* this process was forked after the gate had started (see "Forks") */

/* 20 to 39: the configuration. */
#define PHONEGATE_CONFIG_NOT_FOUND 20  /* there is no such file */
#define PHONEGATE_CONFIG_UNREADABLE 21 /* the file cannot be read */
#define PHONEGATE_CONFIG_INVALID 22    /* the file, or a value in it, is wrong */
#define PHONEGATE_SECRET_UNAVAILABLE 23 /* a secret that the configuration names cannot be read */
#define PHONEGATE_STATE_FOLDER 24      /* the folder for logs and state is unusable or unsafe */
#define PHONEGATE_UNSAFE_PERMISSIONS 25 /* other accounts can change the configuration or a file that it names */

/* 40 to 59: the backends. */
#define PHONEGATE_BACKEND_UNUSABLE 40 /* a backend cannot be built from its configuration */

#define PHONEGATE_INTERNAL 99 /* a defect of the library; see the log */

/*
 * InitiateCall
 * Does:      Places a call to `phone_number` for the request `request_id`. A repeat of a pending request never dials
 *            twice. A repeat with another number is PHONEGATE_FAILED, and does not affect the pending call: the other
 *            functions continue to report on that. A repeat after the end of the call is a new attempt.
 * Takes:     phone_number: "+14255551212", "+1 4255551212", "12135551212", "+1 4255551234X12345", ...; request_id: a
 *            GUID; delivery_attributes: a JSON object, or NULL. Attributes never make a call fail: a text that is
 *            not a JSON object is ignored with a warning in the log. Of an object, only the names are logged.
 * Returns:   PHONEGATE_PENDING, PHONEGATE_SUCCESS or PHONEGATE_FAILED.
 * Blocks:    For at most `call.initiate_wait_ms` (0 by default) after work in memory. The first call also starts the
 *            gate, which reads its configuration and waits at most 1 s for a store of type redis.
 * Ownership: All three strings are borrowed for the duration of the call.
 * Since:     0.1.0
 */
phonegate_status InitiateCall(const char *phone_number, const char *request_id, const char *delivery_attributes);

/*
 * GetCallStatus
 * Does:      Returns the status of a call.
 * Takes:     call_id: the GUID that was passed to InitiateCall.
 * Returns:   PHONEGATE_PENDING, PHONEGATE_SUCCESS or PHONEGATE_FAILED; an unknown or malformed id is PHONEGATE_FAILED.
 *            An id that this process does not know is pending while the store is queried: for at most 60 s if the
 *            store does not respond, and for 2 s if nodes share it, because another node may be about to start the call.
 *            If nodes share a store (`store.type` redis), the end of a call is reported after the store confirmed it.
 *            If it does not confirm within 250 ms, a success is still pending, and a failure is PHONEGATE_FAILED.
 *            With `call.single_use`, PHONEGATE_SUCCESS is returned once for each call, by one process and node, and
 *            PHONEGATE_FAILED after that. The store decides which caller gets it. If it does not respond within 250 ms,
 *            the call is still pending. InitiateCall returns PHONEGATE_PENDING in place of PHONEGATE_SUCCESS.
 * Blocks:    While the call is pending, for at most `call.status_wait_ms` (5000 by default) after work in memory.
 *            At most 64 callers wait at a time. Further callers, and a caller inside the log callback, do not wait. A
 *            shutdown ends the wait. Like InitiateCall, it may start the gate.
 * Ownership: call_id is borrowed for the duration of the call.
 * Since:     0.1.0
 */
phonegate_status GetCallStatus(const char *call_id);

/*
 * GetFailureMessage
 * Does:      Explains why a call failed, in a sentence that ends with the reason's code. The text of an ended call
 *            never changes. For a call that has not failed, the text says so. If `messages` is brief, all calls that
 *            failed for the same reason have the same text, and the log has the details.
 * Takes:     call_id: the GUID; buffer, capacity, needed: see "Strings out".
 * Returns:   PHONEGATE_OK, also for an unknown or malformed id (the text says so); PHONEGATE_BUFFER_TOO_SMALL;
 *            PHONEGATE_INVALID_ARGUMENT for a NULL id or bad buffer arguments; PHONEGATE_INTERNAL.
 * Blocks:    For work in memory. If this process does not know the id, or nodes share a store, for at most 250 ms to
 *            query the store. Like InitiateCall, it may start the gate.
 * Ownership: call_id is borrowed for the duration of the call; the text is copied into the caller's buffer.
 * Since:     0.1.0
 */
phonegate_result GetFailureMessage(const char *call_id, char *buffer, size_t capacity, size_t *needed);

/*
 * A receiver of log lines. They are the JSON lines of the log file.
 * level: 1 error, 2 warning, 3 information, 4 debug, 5 trace. message: NUL-terminated UTF-8, valid during the call only.
 * The library calls it on any thread. It may call InitiateCall, GetCallStatus and GetFailureMessage, but not
 * PhoneGateInitialize, PhoneGateShutdown or PhoneGateSetLogCallback. It must not throw or unwind.
 */
typedef void (*phonegate_log_callback)(void *user_data, int32_t level, const char *message);

/*
 * PhoneGateInitialize
 * Does:      Starts the gate with the file that the caller names. Optional: see "The gate starts" above. The path is
 *            kept until PhoneGateShutdown, even if the start fails.
 * Takes:     config_path: the path of the configuration, or NULL for the kept or running one, else the default;
 *            error, capacity, needed: receive a text that explains a failure, or an empty text, see "Strings out";
 *            error may be NULL with capacity 0.
 * Returns:   PHONEGATE_OK; PHONEGATE_ALREADY_INITIALIZED; a code of 20 to 59; PHONEGATE_INVALID_ARGUMENT,
 *            PHONEGATE_INVALID_UTF8, PHONEGATE_TEXT_TOO_LONG; PHONEGATE_IN_CALLBACK; PHONEGATE_FORKED;
 *            PHONEGATE_INTERNAL. A short buffer does not change the code of a failure: compare `*needed` with `capacity`.
 * Blocks:    While the configuration and its secrets are read from disk, and for at most 1 s to query a store of type
 *            redis.
 * Ownership: config_path is borrowed for the duration of the call; the text is copied into the caller's buffer.
 * Since:     0.1.0
 */
phonegate_result PhoneGateInitialize(const char *config_path, char *error, size_t capacity, size_t *needed);

/*
 * PhoneGateShutdown
 * Does:      Stops the gate: pending calls are hung up and fail as Interrupted, threads end, and the log is flushed.
 *            Outcomes stay readable. A later call starts the gate again. A second shutdown does nothing.
 * Takes:     timeout_ms: maximum duration in milliseconds; 0: do not wait for hang-ups.
 * Returns:   PHONEGATE_OK; PHONEGATE_TIMED_OUT (hang-ups or log lines are incomplete, or another thread is still
 *            starting the gate); PHONEGATE_IN_CALLBACK; PHONEGATE_FORKED; PHONEGATE_INTERNAL.
 * Blocks:    For at most timeout_ms.
 * Ownership: None.
 * Since:     0.1.0
 */
phonegate_result PhoneGateShutdown(uint32_t timeout_ms);

/*
 * PhoneGateSetLogCallback
 * Does:      Also sends every later log line to `callback`. NULL removes the callback. May be called before the gate
 *            starts.
 * Takes:     callback: the receiver, or NULL; user_data: passed to it unchanged.
 * Returns:   PHONEGATE_OK; PHONEGATE_IN_CALLBACK inside the callback; PHONEGATE_FORKED; PHONEGATE_INTERNAL.
 * Blocks:    Until the previous callback is not running. It is not called after the return.
 * Ownership: The library keeps `callback` and `user_data` until the next PhoneGateSetLogCallback returns.
 * Since:     0.1.0
 */
phonegate_result PhoneGateSetLogCallback(phonegate_log_callback callback, void *user_data);

/*
 * PhoneGateAbiVersion
 * Does:      Returns the version of this interface. Compare it with PHONEGATE_ABI_VERSION.
 * Takes:     Nothing.
 * Returns:   The version. It changes only if an existing declaration changes its meaning.
 * Blocks:    Never; does not start the gate.
 * Ownership: None.
 * Since:     0.1.0
 */
uint32_t PhoneGateAbiVersion(void);

/*
 * PhoneGateVersion
 * Does:      Returns the version of the library, such as "0.1.0".
 * Takes:     Nothing.
 * Returns:   A NUL-terminated text, never NULL.
 * Blocks:    Never; does not start the gate.
 * Ownership: The library owns the text, which is valid until the process ends.
 * Since:     0.1.0
 */
const char *PhoneGateVersion(void);

#ifdef __cplusplus
}
#endif

#endif /* PHONEGATE_H */
