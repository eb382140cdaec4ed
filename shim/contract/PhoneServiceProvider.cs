// The contract of Microsoft Identity Manager according to its documentation. Tests compile the shim against it. On a MIM
// server, the shim is compiled against the real assembly.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
using System;
using System.Collections.Generic;

namespace Microsoft.IdentityManagement.PhoneServiceProvider
{
    public interface IPhoneServiceProvider
    {
        PhoneCallStatus InitiateCall(string phoneNumber, Guid requestId, Dictionary<string, object> deliveryAttributes);
        PhoneCallStatus GetCallStatus(string callId);
        string GetFailureMessage(string callId);
    }

    // Microsoft documents the names but not the numbers, so the tests use two sets of numbers.
    public enum PhoneCallStatus
    {
#if OTHER_NUMBERS
        Failed = 0,
        Pending = 2,
        Success = 9,
#else
        Pending,
        Success,
        Failed,
#endif
    }
}
