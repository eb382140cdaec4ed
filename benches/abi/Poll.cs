// Measures a poll (GetCallStatus) of a provider as MIM calls it: through the interface, with the id as text.
//
// Arguments: the shim's path, a folder for the sample's file, the numbers of known calls. Prints a line for each provider
// and number: its name, the number, and nanoseconds a poll, separated by tabs.
using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Reflection;
using System.Text;
using Microsoft.IdentityManagement.PhoneServiceProvider;

public static class Poll
{
    private const string Blocked = "+14255550199";
    // Far apart, so that no cache foresees the next id.
    private const int Stride = 618033;
    private const int Batches = 9;
    private const double BatchSeconds = 0.1;

    public static void Main(string[] arguments)
    {
        Type shim = Assembly.LoadFrom(arguments[0]).GetTypes()[0];
        IPhoneServiceProvider[] providers = {
            (IPhoneServiceProvider)Activator.CreateInstance(shim), new ByText(), new ByGuid(),
            new FileSample(Path.Combine(arguments[1], "phone.txt")) };
        List<string> known = new List<string>();
        for (int i = 2; i < arguments.Length; i++)
        {
            int count = int.Parse(arguments[i], CultureInfo.InvariantCulture);
            while (known.Count < count)
            {
                Guid call = Guid.NewGuid();
                foreach (IPhoneServiceProvider provider in providers) provider.InitiateCall(Blocked, call, null);
                known.Add(call.ToString());
            }
            string[] ids = known.ToArray();
            // The oldest is forgotten first, and one that is not known has failed, too.
            if (!providers[0].GetFailureMessage(ids[0]).Contains("Blocked"))
                throw new InvalidOperationException(providers[0].GetFailureMessage(ids[0]));
            foreach (IPhoneServiceProvider provider in providers)
            {
                double nanoseconds = Measured(provider, ids);
                string shown = nanoseconds.ToString("F1", CultureInfo.InvariantCulture);
                Console.WriteLine(provider.GetType().Name + "\t" + count + "\t" + shown);
            }
        }
    }

    // The median of some batches. The first polls, which are compiled and fill caches, only show how long a batch takes.
    private static double Measured(IPhoneServiceProvider provider, string[] ids)
    {
        int polls = 1;
        double seconds = Run(provider, ids, polls);
        while (seconds < BatchSeconds)
        {
            polls *= 2;
            seconds = Run(provider, ids, polls);
        }
        double[] batches = new double[seconds < 10 * BatchSeconds ? Batches : 3];
        for (int i = 0; i < batches.Length; i++) batches[i] = Run(provider, ids, polls) * 1e9 / polls;
        Array.Sort(batches);
        return batches[batches.Length / 2];
    }

    // Returns the seconds that `count` polls take. Every known call has failed.
    private static double Run(IPhoneServiceProvider provider, string[] ids, int polls)
    {
        int at = 0;
        Stopwatch watch = Stopwatch.StartNew();
        for (int i = 0; i < polls; i++)
        {
            at = (int)((at + (long)Stride) % ids.Length);
            if (provider.GetCallStatus(ids[at]) != PhoneCallStatus.Failed)
                throw new InvalidOperationException(provider.GetType().Name + " does not know " + ids[at]);
        }
        return watch.Elapsed.TotalSeconds;
    }
}

// The least that a provider in C# can do: remember each call's status by the text of its id.
public sealed class ByText : IPhoneServiceProvider
{
    private readonly ConcurrentDictionary<string, PhoneCallStatus> calls = new ConcurrentDictionary<string, PhoneCallStatus>();

    public PhoneCallStatus InitiateCall(string phoneNumber, Guid requestId, Dictionary<string, object> deliveryAttributes)
    {
        return calls[requestId.ToString()] = PhoneCallStatus.Failed;
    }

    public PhoneCallStatus GetCallStatus(string callId)
    {
        PhoneCallStatus status;
        return calls.TryGetValue(callId, out status) ? status : PhoneCallStatus.Pending;
    }

    public string GetFailureMessage(string callId) { return ""; }
}

// The same by the GUID, so that every way to write an id finds it.
public sealed class ByGuid : IPhoneServiceProvider
{
    private readonly ConcurrentDictionary<Guid, PhoneCallStatus> calls = new ConcurrentDictionary<Guid, PhoneCallStatus>();

    public PhoneCallStatus InitiateCall(string phoneNumber, Guid requestId, Dictionary<string, object> deliveryAttributes)
    {
        return calls[requestId] = PhoneCallStatus.Failed;
    }

    public PhoneCallStatus GetCallStatus(string callId)
    {
        Guid id;
        PhoneCallStatus status;
        return Guid.TryParse(callId, out id) && calls.TryGetValue(id, out status) ? status : PhoneCallStatus.Pending;
    }

    public string GetFailureMessage(string callId) { return ""; }
}

// What the sample in Microsoft's article does: a line of a file for each call, all of which are read at each poll.
public sealed class FileSample : IPhoneServiceProvider
{
    private readonly string path;
    private readonly StringBuilder unwritten = new StringBuilder();

    public FileSample(string path) { this.path = path; }

    // A refused call. It is written with others before the first poll, because polls are what is measured.
    public PhoneCallStatus InitiateCall(string phoneNumber, Guid requestId, Dictionary<string, object> deliveryAttributes)
    {
        unwritten.Append(requestId).Append(';').Append(phoneNumber).AppendLine(";2;refused");
        return PhoneCallStatus.Failed;
    }

    public PhoneCallStatus GetCallStatus(string callId)
    {
        if (unwritten.Length > 0)
        {
            File.AppendAllText(path, unwritten.ToString());
            unwritten.Length = 0;
        }
        foreach (string call in File.ReadAllLines(path))
        {
            string[] fields = call.Split(';');
            if (string.Compare(fields[0], callId) != 0) continue;
            int status;
            if (fields.Length < 3 || !int.TryParse(fields[2], out status)) return PhoneCallStatus.Failed;
            return status == 0 ? PhoneCallStatus.Pending : status == 1 ? PhoneCallStatus.Success : PhoneCallStatus.Failed;
        }
        throw new InvalidOperationException("no line of " + callId);
    }

    public string GetFailureMessage(string callId) { return ""; }
}
