/*
 * phonegate.h: the C interface of PhoneGate, the phone-call second factor.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Conventions, obeyed by every function below
 * -------------------------------------------
 * Fail closed   A status is PHONEGATE_SUCCESS only after a telephony backend said so for this very attempt, before its
 *               deadline, and for `call.keep_finished_s` at most. NULL, bad text, an unknown id, a bad configuration,
 *               a timeout or a defect inside the library: PHONEGATE_FAILED.
 * Explained     Every failure has a text: GetFailureMessage with the same id, from any thread.
 * Strings in    NUL-terminated UTF-8, borrowed for the duration of the call. At most 256 bytes for a phone number or an
 *               id, 65,536 for delivery attributes, 32,767 for a path, without the NUL; longer ones are refused.
 * Strings out   Into the caller's buffer. `*needed` (which may be NULL) receives the size of the whole text with its
 *               NUL. PHONEGATE_OK: the whole text is in `buffer`. PHONEGATE_BUFFER_TOO_SMALL: `buffer` has a
 *               NUL-terminated prefix, cut at a character's boundary. `buffer` NULL with `capacity` 0 asks for the size.
 *               Capacity 0 never writes. `buffer` NULL with a capacity above 0 is PHONEGATE_INVALID_ARGUMENT.
 * Ids           A GUID in any of .NET's formats D, N, B and P, in either case. The nil GUID is refused.
 * Ownership     No memory changes owner. No pointer of the caller is kept, the log callback and its user data aside.
 * Threads       Every function may be called from any thread at any time.
 * Unloading     The library keeps itself loaded until the process ends: its threads never lose their code.
 *
 * The gate starts at the first call that needs it. It reads `phonegate.json`: the file that the environment variable
 * PHONEGATE_CONFIG names by its whole path, else the one beside this library. A start that failed is tried again at a
 * later call, at most every 2 seconds, so the file can be corrected without restarting the host.
 */
#ifndef PHONEGATE_H
#define PHONEGATE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What PhoneGateAbiVersion returns for this header. */
#define PHONEGATE_ABI_VERSION 1

/* What has become of a call. */
typedef int32_t phonegate_status;

#define PHONEGATE_PENDING 0
#define PHONEGATE_SUCCESS 1
#define PHONEGATE_FAILED 2

/* What has become of a request to this library. Codes are never reused. */
typedef int32_t phonegate_result;

#define PHONEGATE_OK 0

/* 1 to 19: the caller's side. */
#define PHONEGATE_INVALID_ARGUMENT 1    /* NULL where it is not allowed, or a NULL buffer with a capacity */
#define PHONEGATE_INVALID_UTF8 2        /* text that is not UTF-8 */
#define PHONEGATE_TEXT_TOO_LONG 3       /* text longer than its limit (see "Strings in") */
#define PHONEGATE_BUFFER_TOO_SMALL 4    /* `*needed` tells the size; the buffer has a prefix */
#define PHONEGATE_ALREADY_INITIALIZED 5 /* the gate runs with another configuration; shut it down first */
#define PHONEGATE_IN_CALLBACK 6         /* not allowed inside the log callback */
#define PHONEGATE_TIMED_OUT 7           /* the time given was not enough; the work was cut short */

/* 20 to 39: the configuration. */
#define PHONEGATE_CONFIG_NOT_FOUND 20  /* there is no such file */
#define PHONEGATE_CONFIG_UNREADABLE 21 /* the file cannot be read */
#define PHONEGATE_CONFIG_INVALID 22    /* the file, or a value in it, is wrong */
#define PHONEGATE_SECRET_UNAVAILABLE 23 /* a secret that the configuration names cannot be had */
#define PHONEGATE_STATE_FOLDER 24      /* the folder for logs and state cannot be used, or is not safe to use */
#define PHONEGATE_UNSAFE_PERMISSIONS 25 /* other accounts can change the configuration or a file that it names */

/* 40 to 59: the backends. */
#define PHONEGATE_BACKEND_UNUSABLE 40 /* a backend cannot be built from its configuration */

#define PHONEGATE_INTERNAL 99 /* a defect of the library; the log says more */

/*
 * InitiateCall
 * Does:      Places a call to `phone_number` for the request `request_id`. A repeat of a pending request never dials
 *            twice; a repeat with another number is refused and leaves the first as it is; a repeat after the end is a
 *            new attempt. An id is for one number: whoever asks for what became of it is told of the call that was placed.
 * Takes:     phone_number: "+14255551212", "+1 4255551212", "12135551212", "+1 4255551234X12345", ...; request_id: a
 *            GUID; delivery_attributes: a JSON object, or NULL. Attributes never make a call fail: text that is not a
 *            JSON object is ignored, with a warning in the log. Only the names of its keys are logged.
 * Returns:   PHONEGATE_PENDING, PHONEGATE_SUCCESS or PHONEGATE_FAILED.
 * Blocks:    For memory work only, then for `call.initiate_wait_ms` at most (0 by default). The first call also starts
 *            the gate: it reads its configuration, and asks a store of type redis once, for 1 s at most.
 * Ownership: All three strings are borrowed for the call.
 * Since:     0.1.0
 */
phonegate_status InitiateCall(const char *phone_number, const char *request_id, const char *delivery_attributes);

/*
 * GetCallStatus
 * Does:      Tells what has become of a call.
 * Takes:     call_id: the GUID that was given to InitiateCall.
 * Returns:   PHONEGATE_PENDING, PHONEGATE_SUCCESS or PHONEGATE_FAILED; an unknown or malformed id is PHONEGATE_FAILED.
 *            An id that this process does not know is pending while it is looked up in the store: for 60 s at most as
 *            long as the store cannot be asked, and, where nodes share it, for 2 s, since another one may be about to
 *            begin the call.
 * Blocks:    For memory work only, then, while the call is pending, for `call.status_wait_ms` at most (5000 by default).
 *            At most 64 callers wait at a time. Further callers, and a caller inside the log callback, do not wait. A
 *            shutdown ends the wait.
 *            Where nodes share a store (`store.type` redis), the end of a call is told when the store has confirmed it,
 *            which takes 250 ms at most: a success that was not confirmed is still pending, a failure is one.
 *            With `call.single_use`, PHONEGATE_SUCCESS is returned once for each call, by one process and node. Every
 *            later call of this function returns PHONEGATE_FAILED. The store decides that within 250 ms: if it does not
 *            answer in time, the call is still pending. InitiateCall returns PHONEGATE_PENDING in place of
 *            PHONEGATE_SUCCESS. As InitiateCall, it may start the gate.
 * Ownership: call_id is borrowed for the call.
 * Since:     0.1.0
 */
phonegate_status GetCallStatus(const char *call_id);

/*
 * GetFailureMessage
 * Does:      Tells why a call failed, in a sentence that ends with the reason's code. The text of an ended call never
 *            changes. A call that has not failed gets a text that says so. With
 *            `messages` brief, all calls that failed for the same reason have the same text; the log has the rest.
 * Takes:     call_id: the GUID; buffer, capacity, needed: see "Strings out".
 * Returns:   PHONEGATE_OK, also for an unknown or malformed id (the text says so); PHONEGATE_BUFFER_TOO_SMALL;
 *            PHONEGATE_INVALID_ARGUMENT for a NULL id or bad buffer arguments; PHONEGATE_INTERNAL.
 * Blocks:    For memory work only; for an id that this process does not know, and for each where nodes share a store,
 *            for a look into the store, 250 ms at most.
 *            As InitiateCall, it may start the gate.
 * Ownership: call_id is borrowed for the call; the text is copied into the caller's buffer.
 * Since:     0.1.0
 */
phonegate_result GetFailureMessage(const char *call_id, char *buffer, size_t capacity, size_t *needed);

/*
 * A receiver of log lines: the same JSON lines that go to the log file.
 * level: 1 error, 2 warning, 3 information, 4 debug, 5 trace. message: NUL-terminated UTF-8, valid during the call only.
 * It comes on a thread of the library's. It may call InitiateCall, GetCallStatus and GetFailureMessage, but neither
 * PhoneGateInitialize, PhoneGateShutdown nor PhoneGateSetLogCallback. It must not throw or unwind.
 */
typedef void (*phonegate_log_callback)(void *user_data, int32_t level, const char *message);

/*
 * PhoneGateInitialize
 * Does:      Starts the gate now, from a file that the caller names. Optional: see "The gate starts" above. The path is
 *            kept, also after a failure, until PhoneGateShutdown.
 * Takes:     config_path: the configuration's path, or NULL for the one that is kept or running, else the usual one;
 *            error, capacity, needed: where a text goes that explains a failure (empty on success), see "Strings out";
 *            error may be NULL with capacity 0.
 * Returns:   PHONEGATE_OK; PHONEGATE_ALREADY_INITIALIZED; a code of 20 to 59; PHONEGATE_INVALID_ARGUMENT,
 *            PHONEGATE_INVALID_UTF8, PHONEGATE_TEXT_TOO_LONG; PHONEGATE_IN_CALLBACK; PHONEGATE_INTERNAL. The code of a
 *            failure is never hidden by a short buffer: compare `*needed` with `capacity`.
 * Blocks:    While the configuration and its secrets are read from disk, and for 1 s at most while a store of type
 *            redis is asked.
 * Ownership: config_path is borrowed for the call; the text is copied into the caller's buffer.
 * Since:     0.1.0
 */
phonegate_result PhoneGateInitialize(const char *config_path, char *error, size_t capacity, size_t *needed);

/*
 * PhoneGateShutdown
 * Does:      Ends the gate: calls in flight are hung up and fail as Interrupted, threads end, the log is written out.
 *            A later call starts the gate anew. Doing it twice is harmless. Outcomes stay readable.
 * Takes:     timeout_ms: the longest that it may take, in milliseconds; 0: do not wait for hang-ups.
 * Returns:   PHONEGATE_OK; PHONEGATE_TIMED_OUT (some hang-ups were cut short, or log lines are still being written, or
 *            another thread's start of the gate took longer and goes on); PHONEGATE_IN_CALLBACK; PHONEGATE_INTERNAL.
 * Blocks:    For timeout_ms at most.
 * Ownership: Nothing passes.
 * Since:     0.1.0
 */
phonegate_result PhoneGateShutdown(uint32_t timeout_ms);

/*
 * PhoneGateSetLogCallback
 * Does:      Sends every log line to `callback` too, from now on; NULL ends that. May be called before the gate starts.
 * Takes:     callback: the receiver, or NULL; user_data: handed to it as it is.
 * Returns:   PHONEGATE_OK; PHONEGATE_IN_CALLBACK inside the callback; PHONEGATE_INTERNAL.
 * Blocks:    Until the callback set before is not running any more: after the return it is never called again.
 * Ownership: The library keeps `callback` and `user_data` until the next PhoneGateSetLogCallback returns.
 * Since:     0.1.0
 */
phonegate_result PhoneGateSetLogCallback(phonegate_log_callback callback, void *user_data);

/*
 * PhoneGateAbiVersion
 * Does:      Tells the version of this interface: compare it with PHONEGATE_ABI_VERSION.
 * Takes:     Nothing.
 * Returns:   The version. It changes only when something that exists here changes its meaning.
 * Blocks:    Never; does not start the gate.
 * Ownership: Nothing passes.
 * Since:     0.1.0
 */
uint32_t PhoneGateAbiVersion(void);

/*
 * PhoneGateVersion
 * Does:      Tells the library's version, "0.1.0".
 * Takes:     Nothing.
 * Returns:   NUL-terminated text, never NULL.
 * Blocks:    Never; does not start the gate.
 * Ownership: The text belongs to the library and is valid as long as the process.
 * Since:     0.1.0
 */
const char *PhoneGateVersion(void);

#ifdef __cplusplus
}
#endif

#endif /* PHONEGATE_H */
