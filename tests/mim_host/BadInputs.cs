// Bad inputs: each must get an answer, none may throw, and none may be verified.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.Threading;
using Microsoft.IdentityManagement.PhoneServiceProvider;

public static class BadInputs
{
    private enum Colour { Red = 1 }

    private sealed class Angry
    {
        public override string ToString() { throw new InvalidOperationException("no text for you"); }
    }

    private sealed class Mute
    {
        public override string ToString() { return null; }
    }

    // One call with every kind of attribute. A culture with decimal commas must not show in them.
    public static bool Attributes(IPhoneServiceProvider provider, string number)
    {
        Thread.CurrentThread.CurrentCulture = new CultureInfo("de-DE");
        PhoneCallStatus status = provider.InitiateCall(number, Guid.NewGuid(), OddAttributes());
        Console.WriteLine("attributes\t" + status);
        return status == PhoneCallStatus.Pending;
    }

    public static bool All(IPhoneServiceProvider provider, string number)
    {
        bool good = true;

        Guid call = Guid.NewGuid();
        provider.InitiateCall(number, call, OddAttributes());
        good &= Expect("odd attributes", PhoneCallStatus.Success, provider, End(provider, call), call.ToString());

        foreach (string format in new string[] { "D", "N", "B", "P" })
        {
            string id = call.ToString(format);
            good &= Expect("callId " + format, PhoneCallStatus.Success, provider, provider.GetCallStatus(id), id);
            good &= Expect("callId " + format + " upper", PhoneCallStatus.Success, provider, provider.GetCallStatus(id.ToUpperInvariant()), id);
        }

        string[] ids = {
            null, "", " ", "unknown", Guid.NewGuid().ToString(), Guid.Empty.ToString(), call + "\0", "\0" + call, call + "\0x", call + " x",
            call.ToString().Substring(1), call + "\ud800", "\udc00", new string('1', 1 << 20), "{" + call, "'; DROP TABLE calls; --" };
        foreach (string id in ids) good &= Expect("callId " + Shown(id), PhoneCallStatus.Failed, provider, End(provider, id), id);

        string[] numbers = {
            null, "", " ", "\0", number + "\0", number.Insert(5, "\0"), number + "\ud83d", "\udc00" + number, number + "\ufffd", "911", "+", "+++",
            "x", number + "\u2028" + number, number + ";1;ok", number + "\r\n" + number, new string('1', 1 << 20), "+99999999999999", "\ud83d\ude00", number + "\u007f", number + "\u0080" };
        foreach (string bad in numbers)
        {
            Guid id = Guid.NewGuid();
            good &= Expect("number " + Shown(bad), PhoneCallStatus.Failed, provider, provider.InitiateCall(bad, id, null), id.ToString());
            good &= Expect("status " + Shown(bad), PhoneCallStatus.Failed, provider, provider.GetCallStatus(id.ToString()), id.ToString());
        }
        good &= Expect("requestId nil", PhoneCallStatus.Failed, provider, provider.InitiateCall(number, Guid.Empty, null), Guid.Empty.ToString());
        return good;
    }

    private static Dictionary<string, object> OddAttributes()
    {
        Dictionary<string, object> attributes = new Dictionary<string, object>();
        attributes.Add("", null);
        attributes.Add("null", DBNull.Value);
        attributes.Add("quote\"back\\slash", "\"\\/");
        attributes.Add("control", "\0\u0001\b\t\n\f\r\u001f\u007f");
        attributes.Add("umlaut\u00fc", "\u00e4\u2028\uffff");
        attributes.Add("emoji\ud83d\ude00", "\ud83d\ude00");
        attributes.Add("lone\ud800", "\ud800x\udc00\ud800\ud83d\ude00\udc00");
        attributes.Add("char", 'x');
        attributes.Add("loneChar", '\ud800');
        attributes.Add("true", true);
        attributes.Add("false", false);
        attributes.Add("sbyte", sbyte.MinValue);
        attributes.Add("byte", byte.MaxValue);
        attributes.Add("short", short.MinValue);
        attributes.Add("ushort", ushort.MaxValue);
        attributes.Add("int", int.MinValue);
        attributes.Add("uint", uint.MaxValue);
        attributes.Add("long", long.MinValue);
        attributes.Add("ulong", ulong.MaxValue);
        attributes.Add("decimal", 1234567.8900m);
        attributes.Add("float", 1.5f);
        attributes.Add("double", -1234.5e-20);
        attributes.Add("large", 1e300);
        attributes.Add("nan", double.NaN);
        attributes.Add("infinity", float.PositiveInfinity);
        attributes.Add("minusInfinity", double.NegativeInfinity);
        attributes.Add("enum", Colour.Red);
        attributes.Add("utc", new DateTime(2024, 2, 29, 23, 59, 58, DateTimeKind.Utc));
        attributes.Add("unspecified", new DateTime(2024, 2, 29));
        attributes.Add("offset", new DateTimeOffset(2024, 2, 29, 1, 2, 3, TimeSpan.FromHours(-8)));
        attributes.Add("guid", new Guid("00112233-4455-6677-8899-AABBCCDDEEFF"));
        attributes.Add("bytes", new byte[] { 1, 2 });
        attributes.Add("nested", new Dictionary<string, object>());
        attributes.Add("uri", new Uri("http://example.com/"));
        attributes.Add("angry", new Angry());
        attributes.Add("mute", new Mute());
        return attributes;
    }

    // Waits for the end of a call. Returns Pending if it did not end within a minute.
    public static PhoneCallStatus End(IPhoneServiceProvider provider, Guid call)
    {
        return End(provider, call.ToString());
    }

    // An unknown id is also pending while the library queries the store.
    private static PhoneCallStatus End(IPhoneServiceProvider provider, string callId)
    {
        DateTime end = DateTime.UtcNow.AddMinutes(1);
        PhoneCallStatus status = provider.GetCallStatus(callId);
        while (status == PhoneCallStatus.Pending && DateTime.UtcNow < end)
        {
            Thread.Sleep(5);
            status = provider.GetCallStatus(callId);
        }
        return status;
    }

    // Each failure must be explained by the id that failed.
    private static bool Expect(string name, PhoneCallStatus expected, IPhoneServiceProvider provider, PhoneCallStatus status, string callId)
    {
        string message = provider.GetFailureMessage(callId);
        bool good = status == expected && !string.IsNullOrEmpty(message);
        Console.WriteLine(string.Join("\t", new string[] { "bad-input", good ? "ok" : "WRONG", name, status.ToString(), MimHost.OneLine(message) }));
        return good;
    }

    private static string Shown(string text)
    {
        if (text == null) return "(null)";
        string shown = "";
        foreach (char c in text.Length > 60 ? text.Substring(0, 10) + "... of " + text.Length : text)
            shown += c >= ' ' && c <= '~' ? c.ToString() : "\\u" + ((int)c).ToString("x4");
        return shown;
    }
}
