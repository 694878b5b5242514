namespace Conformance.Reports;

/// <summary>A small picture for a README: how many claims hold.</summary>
public static class Badge
{
    private const int CharacterWidth = 7;
    private const int Padding = 12;
    private const string Label = "IPVS conformance";

    public static string ToSvg(RunResults results)
    {
        var text = $"{results.Count(Verdict.Holds)} of {results.Claims.Count - results.Count(Verdict.NotSupported)} hold";
        var colour = results.IsGood ? "#1a7f37" : "#b42318";
        var (left, right) = ((Label.Length * CharacterWidth) + Padding, (text.Length * CharacterWidth) + Padding);
        return $"""
            <svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{Label}: {text}">
              <title>{Label}: {text}</title>
              <rect width="{left}" height="20" fill="#444c56"/>
              <rect x="{left}" width="{right}" height="20" fill="{colour}"/>
              <g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
                <text x="{left / 2}" y="14">{Label}</text>
                <text x="{left + (right / 2)}" y="14">{text}</text>
              </g>
            </svg>

            """;
    }
}
