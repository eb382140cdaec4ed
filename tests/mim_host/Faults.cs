// A library that panics where PHONEGATE_FAULT says, on Windows, where the library sees what the host sets. Each question is
// answered all the same.
using System;
using System.Collections.Generic;
using Microsoft.IdentityManagement.PhoneServiceProvider;

public static class Faults
{
    private static readonly string[] Places = {
        "backend.place", "backend.follow", "gate.initiate", "export.InitiateCall", "export.GetCallStatus", "export.GetFailureMessage" };

    // A number for each place, since a phone may ring that a panic left, and one for the calls after them.
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
            if (status == PhoneCallStatus.Pending) status = Insults.End(provider, call);
            string message = provider.GetFailureMessage(call.ToString());
            Console.WriteLine(string.Join("\t", new string[] { "fault", place, status.ToString(), MimHost.OneLine(message) }));

            Environment.SetEnvironmentVariable("PHONEGATE_FAULT", null);
            // Only what was asked had the fault, where it was in a question.
            if (place == "export.GetCallStatus") good &= Insults.End(provider, call) == PhoneCallStatus.Success;
            Guid next = Guid.NewGuid();
            provider.InitiateCall(another, next, null);
            good &= Insults.End(provider, next) == PhoneCallStatus.Success;
        }
        return good;
    }
}
