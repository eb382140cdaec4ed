// Calls while the library panics at the place that PHONEGATE_FAULT names. Each call must get an answer. Only on Windows does
// the library see variables that the host sets.
using System;
using System.Collections.Generic;
using Microsoft.IdentityManagement.PhoneServiceProvider;

public static class Faults
{
    private static readonly string[] Places = {
        "backend.place", "backend.follow", "gate.initiate", "export.InitiateCall", "export.GetCallStatus", "export.GetFailureMessage" };

    // One number for each place, because a phone may still ring after a panic, and one for the calls between them.
    public static bool All(IPhoneServiceProvider provider, List<string> numbers)
    {
        bool good = true;
        string another = numbers[Places.Length];
        for (int n = 0; n < Places.Length; n++)
        {
            string place = Places[n];
            Guid call = Guid.NewGuid();
            Environment.SetEnvironmentVariable("PHONEGATE_FAULT", place);
            PhoneCallStatus status = provider.InitiateCall(numbers[n], call, null);
            if (status == PhoneCallStatus.Pending) status = BadInputs.End(provider, call);
            string message = provider.GetFailureMessage(call.ToString());
            Console.WriteLine(string.Join("\t", new string[] { "fault", place, status.ToString(), MimHost.OneLine(message) }));

            Environment.SetEnvironmentVariable("PHONEGATE_FAULT", null);
            // A fault in GetCallStatus does not affect the call itself.
            if (place == "export.GetCallStatus") good &= BadInputs.End(provider, call) == PhoneCallStatus.Success;
            Guid next = Guid.NewGuid();
            provider.InitiateCall(another, next, null);
            good &= BadInputs.End(provider, next) == PhoneCallStatus.Success;
        }
        return good;
    }
}
