// Uses a phone provider as Microsoft Identity Manager does, in every way that its documentation allows.
//
//   MimHost.exe MfaSettings.xml calls CALLS       places all calls of the file at once
//   MimHost.exe MfaSettings.xml domains CALLS     the same from two AppDomains, of which one is unloaded meanwhile
//   MimHost.exe MfaSettings.xml attributes NUMBER one call with every kind of delivery attribute, in a German culture
//   MimHost.exe MfaSettings.xml bad-inputs NUMBER every kind of bad input
//   MimHost.exe MfaSettings.xml leave CALLS       starts the calls, and ends while they are pending
//   MimHost.exe MfaSettings.xml faults NUMBER...  calls while the library panics in one place after the other
//   MimHost.exe MfaSettings.xml repaired NUMBER LIBRARY  a call before LIBRARY is copied to the shim's folder, and one after it
//
//   --load from|file|bytes   Assembly.LoadFrom, LoadFile, or Load of the file's bytes
//   --instances one|each     one provider for all calls, or one for each
//   --shadow FOLDER          in an AppDomain that loads assemblies from copies in that folder
//
// CALLS has a call a line: number;expected status;what the failure message must contain. Each call gives a line of
// tab-separated fields. The exit code is 0 when all went as expected.
using System;
using System.Collections.Generic;
using System.IO;
using System.Reflection;
using System.Text;
using System.Threading;
using System.Xml;
using Microsoft.IdentityManagement.PhoneServiceProvider;

public static class MimHost
{
    public static int Main(string[] arguments)
    {
        // The default encoding of a program's output on Windows is not UTF-8.
        StreamWriter output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false));
        output.AutoFlush = true;
        Console.SetOut(output);
        try
        {
            List<string> words = new List<string>(arguments);
            string load = Option(words, "--load", "from");
            bool each = Option(words, "--instances", "one") == "each";
            string shadow = Option(words, "--shadow", null);
            string shim = ProviderPath(words[0]);
            AppDomain domain = shadow == null ? AppDomain.CurrentDomain : ShadowDomain(shadow, Path.GetDirectoryName(shim));
            switch (words[1])
            {
                case "calls":
                    return Report(Caller.In(domain, shim, load, each).Run(ReadCalls(words[2]), true, true)) ? 0 : 1;
                case "domains":
                    return TwoDomains(shim, load, each, ReadCalls(words[2])) ? 0 : 1;
                case "attributes":
                    return BadInputs.Attributes(Caller.In(domain, shim, load, each).Provider(), words[2]) ? 0 : 1;
                case "bad-inputs":
                    return BadInputs.All(Caller.In(domain, shim, load, each).Provider(), words[2]) ? 0 : 1;
                case "leave":
                    return Report(Caller.In(domain, shim, load, each).Run(ReadCalls(words[2]), true, false)) ? 0 : 1;
                case "faults":
                    return Faults.All(Caller.In(domain, shim, load, each).Provider(), words.GetRange(2, words.Count - 2)) ? 0 : 1;
                case "repaired":
                    return Repaired(Caller.In(domain, shim, load, each).Provider(), words[2], words[3], Path.GetDirectoryName(shim)) ? 0 : 1;
                default:
                    throw new ArgumentException("no such mode: " + words[1]);
            }
        }
        catch (Exception e)
        {
            Console.WriteLine("host\t" + e);
            return 2;
        }
    }

    public static string OneLine(string text)
    {
        return text == null ? "-" : text.Replace('\t', ' ').Replace('\r', ' ').Replace('\n', ' ');
    }

    // The name of the root element is not documented, so any will do.
    private static string ProviderPath(string settings)
    {
        XmlDocument document = new XmlDocument();
        document.Load(settings);
        return document.GetElementsByTagName("CustomPhoneProvider")[0].InnerText;
    }

    private static string Option(List<string> words, string name, string otherwise)
    {
        int at = words.IndexOf(name);
        if (at < 0) return otherwise;
        string value = words[at + 1];
        words.RemoveRange(at, 2);
        return value;
    }

    private static Call[] ReadCalls(string path)
    {
        List<Call> calls = new List<Call>();
        foreach (string line in File.ReadAllLines(path))
        {
            string[] fields = line.Split(new char[] { ';' }, 3);
            Call call = new Call();
            call.Number = fields[0];
            call.Expected = fields[1];
            call.Contains = fields[2];
            calls.Add(call);
        }
        return calls.ToArray();
    }

    private static bool Report(Call[] calls)
    {
        bool good = calls.Length > 0;
        foreach (Call call in calls)
        {
            bool message = call.Status != "Failed" || call.Message.Length > 0 && call.Message.Contains(call.Contains);
            bool asExpected = call.Status == call.Expected && message;
            Console.WriteLine(string.Join("\t", new string[] {
                "call", asExpected ? "ok" : "WRONG", call.Number, call.RequestId.ToString(), call.Status, OneLine(call.Message) }));
            good &= asExpected;
        }
        return good;
    }

    private static AppDomain ShadowDomain(string cache, string original)
    {
        AppDomainSetup setup = new AppDomainSetup();
        setup.ApplicationBase = AppDomain.CurrentDomain.BaseDirectory;
        setup.ApplicationName = "mim";
        setup.CachePath = cache;
        setup.ShadowCopyDirectories = original;
        setup.ShadowCopyFiles = "true";
        return AppDomain.CreateDomain("shadow", null, setup);
    }

    private static bool Repaired(IPhoneServiceProvider provider, string number, string library, string folder)
    {
        PhoneCallStatus before = provider.InitiateCall(number, Guid.NewGuid(), null);
        File.Copy(library, Path.Combine(folder, Path.GetFileName(library)));
        PhoneCallStatus after = provider.InitiateCall(number, Guid.NewGuid(), null);
        Console.WriteLine("repaired\t" + before + "\t" + after);
        return before == PhoneCallStatus.Failed && after == PhoneCallStatus.Success;
    }

    // The first half of the calls is started in a domain that is unloaded while the other half runs in a second one.
    // The second then reports how the first half ended, and a third one, created later, repeats it.
    private static bool TwoDomains(string shim, string load, bool each, Call[] calls)
    {
        Call[] first = new Call[calls.Length / 2];
        Call[] second = new Call[calls.Length - first.Length];
        Array.Copy(calls, first, first.Length);
        Array.Copy(calls, first.Length, second, 0, second.Length);

        AppDomain doomed = AppDomain.CreateDomain("doomed");
        Caller survivor = Caller.In(AppDomain.CreateDomain("survivor"), shim, load, each);
        first = Caller.In(doomed, shim, load, each).Run(first, true, false);
        Call[] ended = null;
        Thread meanwhile = new Thread(delegate () { ended = survivor.Run(second, true, true); });
        meanwhile.Start();
        AppDomain.Unload(doomed);
        Console.WriteLine("unloaded\tdoomed");
        meanwhile.Join();

        bool good = Report(ended);
        good &= Report(survivor.Run(first, false, true));
        AppDomain late = AppDomain.CreateDomain("late");
        good &= Report(Caller.In(late, shim, load, each).Run(first, true, true));
        AppDomain.Unload(late);
        return good;
    }
}
