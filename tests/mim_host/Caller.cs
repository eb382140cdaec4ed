// Loads the provider in one AppDomain, and places calls: all at once, each started on a thread of its own, and polled
// and explained on other threads.
using System;
using System.Collections.Generic;
using System.IO;
using System.Reflection;
using System.Threading;
using Microsoft.IdentityManagement.PhoneServiceProvider;

[Serializable]
public sealed class Call
{
    public string Number, Expected, Contains;
    public Guid RequestId = Guid.NewGuid();
    public string Status = "never started";
    public string Message = "";
}

public sealed class Caller : MarshalByRefObject
{
    private const int Pollers = 8;
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    private Type type;
    private IPhoneServiceProvider shared;

    public static Caller In(AppDomain domain, string shim, string load, bool each)
    {
        Caller caller = (Caller)domain.CreateInstanceAndUnwrap(typeof(Caller).Assembly.FullName, typeof(Caller).FullName);
        caller.Load(shim, load, each);
        return caller;
    }

    private void Load(string shim, string load, bool each)
    {
        Assembly assembly = load == "file" ? Assembly.LoadFile(shim)
            : load == "bytes" ? Assembly.Load(File.ReadAllBytes(shim))
            : Assembly.LoadFrom(shim);
        Type[] types = assembly.GetTypes();
        Console.WriteLine("assembly\t" + assembly.ImageRuntimeVersion + "\t" + types.Length + "\t" + assembly.Location);
        type = types[0];
        if (!each) shared = New();
    }

    public IPhoneServiceProvider Provider()
    {
        return shared ?? New();
    }

    private IPhoneServiceProvider New()
    {
        return (IPhoneServiceProvider)Activator.CreateInstance(type);
    }

    // Starts the calls, or follows calls that were started before, or both at the same time.
    public Call[] Run(Call[] calls, bool start, bool follow)
    {
        Queue<Call> pending = new Queue<Call>();
        List<Call> failed = new List<Call>();
        int open = calls.Length;
        ManualResetEvent go = new ManualResetEvent(false);
        List<Thread> threads = new List<Thread>();

        foreach (Call each in calls)
        {
            Call call = each;
            if (!start)
            {
                pending.Enqueue(call);
                continue;
            }
            threads.Add(Background(delegate ()
            {
                go.WaitOne();
                Guarded(call, delegate () { return Provider().InitiateCall(call.Number, call.RequestId, null); });
                lock (pending)
                {
                    if (call.Status == "Pending" && follow) pending.Enqueue(call); else open--;
                    if (call.Status == "Failed") failed.Add(call);
                }
            }));
        }
        for (int i = 0; follow && i < Pollers; i++) threads.Add(Background(delegate ()
        {
            go.WaitOne();
            while (true)
            {
                Call call = null;
                lock (pending)
                {
                    if (open == 0) return;
                    if (pending.Count > 0) call = pending.Dequeue();
                }
                if (call != null)
                {
                    Guarded(call, delegate () { return Provider().GetCallStatus(call.RequestId.ToString()); });
                    lock (pending)
                    {
                        if (call.Status == "Pending") pending.Enqueue(call); else open--;
                        if (call.Status == "Failed") failed.Add(call);
                    }
                }
                Thread.Sleep(2);
            }
        }));

        DateTime end = DateTime.UtcNow + Limit;
        go.Set();
        foreach (Thread thread in threads)
        {
            TimeSpan left = end - DateTime.UtcNow;
            if (left <= TimeSpan.Zero || !thread.Join(left)) throw new TimeoutException(open + " calls are still open");
        }
        foreach (Call call in failed)
        {
            try
            {
                call.Message = Provider().GetFailureMessage(call.RequestId.ToString());
            }
            catch (Exception e)
            {
                call.Status = "threw " + e.GetType();
            }
        }
        return calls;
    }

    private delegate PhoneCallStatus Question();

    private static void Guarded(Call call, Question question)
    {
        try
        {
            call.Status = question().ToString();
        }
        catch (Exception e)
        {
            call.Status = "threw " + e.GetType();
        }
    }

    private static Thread Background(ThreadStart work)
    {
        Thread thread = new Thread(work);
        thread.IsBackground = true;
        thread.Start();
        return thread;
    }
}
